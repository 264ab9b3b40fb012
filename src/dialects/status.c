/*
 * status: HTTP statuses of errors, and the words that several dialects have for them. Constant data; any thread.
 */
#include "dialects/dialect.h"

int reply_status_of(int code)
{
    switch (code) {
    case ERR_NONE:
        return 200;
    case ERR_INVALID:
        return 400;
    case ERR_UNAUTH:
        return 401;
    case ERR_DENIED:
        return 403;
    case ERR_NOTFOUND:
        return 404;
    case ERR_TIMEOUT:
        return 408;
    case ERR_CONFLICT:
    case ERR_CANCELED:
        return 409;
    case ERR_GONE:
        return 410;
    case ERR_BUSY:
    case ERR_LIMIT:
        return 429;
    case ERR_UNAVAILABLE:
    case ERR_NOMEM:
        return 503;
    default:
        return 500;
    }
}

const char *reply_word(int status)
{
    static const struct {
        int status;
        const char *word;
    } words[] = {
        {403, "FORBIDDEN"},          {404, "NOT_FOUND"},
        {405, "METHOD_NOT_ALLOWED"}, {406, "NOT_ACCEPTABLE"},
        {408, "TIME_OUT"},           {409, "CONFLICT"},
        {413, "PAYLOAD_TOO_LARGE"},  {415, "UNSUPPORTED_MEDIA_TYPE"},
        {429, "TOO_MANY_REQUESTS"},  {503, "SERVICE_UNAVAILABLE"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].status == status)
            return words[i].word;
    return NULL;
}
