/* id: any text; what is accepted has both spellings, and each leads back to it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qid id, back;
    if (!id_parse((const char *)data, size, &id))
        return 0;
    char uuid[ID_TEXT_MAX], kakao[ID_TEXT_MAX];
    id_uuid(&id, uuid);
    id_kakao(&id, kakao);
    if (strlen(uuid) != ID_UUID_LEN || !id_parse(uuid, ID_UUID_LEN, &back) || !id_equal(&id, &back))
        abort();
    if (strlen(kakao) != ID_KAKAO_LEN || !id_parse(kakao, ID_KAKAO_LEN, &back) || !id_equal(&id, &back))
        abort();
    return 0;
}
