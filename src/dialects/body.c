/*
 * body: request bodies that must be one JSON object, for every dialect. Pure; any thread.
 */
#include "dialects/dialect.h"

static void free_doc(void *doc)
{
    json_doc_free(doc);
}

int body_object(struct arena *a, const char *body, size_t n, bool *ret_is_json, json_value *ret,
                struct err *e)
{
    struct json_doc *doc = NULL;
    struct err why;
    err_clear(&why);
    int r = json_parse(body ? body : "", n, &doc, &why);
    if (ret_is_json)
        *ret_is_json = r == 0;
    if (r == ERR_NOMEM)
        return err_no_memory(e);
    if (r)
        return err_set(e, ERR_INVALID, "22023", "the request body is no valid JSON: %s", why.text);
    if (arena_on_free(a, free_doc, doc)) {
        json_doc_free(doc);
        return err_no_memory(e);
    }
    json_value root = json_root(doc);
    if (json_kind(root) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "22023", "the request body must be a JSON object, not %s",
                       json_kind_name(json_kind(root)));
    *ret = root;
    return 0;
}
