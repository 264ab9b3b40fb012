/* unit: what every unit test of the base includes before cmocka, in the order that cmocka wants. */
#ifndef QUERN_TESTS_UNIT_BASE_UNIT_H
#define QUERN_TESTS_UNIT_BASE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
