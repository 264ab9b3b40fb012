/*
 * compat_operators: operators that a profile has otherwise than the engine, for some types of their sides only:
 * "+", "-" and "*" of decimals (compat_exact.c), "||" of an array and one element, and in TRINO those of dates
 * (compat_dates.c). And what type an argument of sum has (compat_arith.c).
 *
 * A macro for "+" would stand around every sum of integers too, hide it from the optimizer (statistics, rewritten
 * sums) and take the places from its errors. So the types decide here, where the engine has bound both sides and
 * is about to bind its own function: the library's FunctionBinder::BindScalarFunction is a symbol that it calls
 * through its own table of symbols, and a program's symbol of that name comes before the library's. The one below
 * passes everything on as it came, but for those operators, which it has the library bind as functions of ours, by
 * name. All else (another profile, other types) costs a look at the name. So it is with BindAggregateFunction.
 *
 * What is used of the library: the order of the arguments of two functions (their mangled names hold their types),
 * a function's name behind its first pointer, and a list of expressions as compat_returns.c has it. C++'s rules
 * for calls (Itanium ABI) make a returned object a pointer in front and objects by value pointers to the caller's.
 *
 * Invariant: the library is pinned by its hash, and compat_operators_work() shows at the first session of a
 * profile in a process that operators come by here; if not, the session is an error. An exception of the library
 * goes through this frame, which holds nothing.
 *
 * Job thread, which alone binds statements.
 */
#include "engines/compat_operators.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "engines/compat_arith.h"

#define EXPRESSIONS "NS_6vectorINS_10unique_ptrINS_10ExpressionESt14default_deleteIS4_ELb1EEELb1ESaIS7_EEE"
#define BIND                                                                                                 \
    "_ZN6duckdb14FunctionBinder18BindScalarFunctionENS_14ScalarFunctionE" EXPRESSIONS                        \
    "bNS_12optional_ptrINS_6BinderELb1EEE"
#define BIND_NAMED                                                                                           \
    "_ZN6duckdb14FunctionBinder18BindScalarFunctionERKNSt7__cxx1112basic_stringIcSt11char_"                  \
    "traitsIcESaIcEEES8_"                                                                                    \
    "NS_6vectorINS_10unique_ptrINS_10ExpressionESt14default_deleteISB_ELb1EEELb1ESaISE_EEERNS_9ErrorDataEb"  \
    "NS_12optional_ptrINS_6BinderELb1EEE"
#define BIND_SUM                                                                                             \
    "_ZN6duckdb14FunctionBinder21BindAggregateFunctionENS_17AggregateFunctionE" EXPRESSIONS                  \
    "S7_NS_13AggregateTypeE"
#define ERROR_NEW   "_ZN6duckdb9ErrorDataC1Ev"
#define ERROR_THROW "_ZNK6duckdb9ErrorData5ThrowERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"

/* The library's text, which may point anywhere when it is only read. */
struct library_text {
    const char *p;
    size_t n;
    char room[16];
};

struct library_list {
    void **begin, **end, **cap;
};

/* As far as it is read. */
struct library_function {
    void *table;
    struct library_text name;
};

typedef void *bind_fn(void **ret, void *binder, struct library_function *f, struct library_list *children,
                      bool is_operator, void *scope);
typedef void *bind_sum_fn(void **ret, void *binder, struct library_function *f, struct library_list *children,
                          void **filter, int type);
typedef void *bind_named_fn(void **ret, void *binder, const struct library_text *schema,
                            const struct library_text *name, struct library_list *children, void *error,
                            bool is_operator, void *scope);
typedef void *allocate_fn(size_t n);
typedef void error_new_fn(void *error);
typedef void error_throw_fn(const void *error, const struct library_text *before);

static struct {
    bind_fn *bind;
    bind_sum_fn *bind_sum;
    bind_named_fn *bind_named;
    allocate_fn *allocate;
    error_new_fn *error_new;
    error_throw_fn *error_throw;
    uint8_t profile;
} here;

void compat_operators_profile(uint8_t profile)
{
    here.profile = profile;
}

static duckdb_logical_type type_of(void **slot)
{
    return duckdb_expression_return_type((duckdb_expression)(void *)slot);
}

static struct numeric side(void **slot)
{
    duckdb_logical_type type = type_of(slot);
    struct numeric x = number_of(type);
    if (type)
        duckdb_destroy_logical_type(&type);
    return x;
}

/* Of arrays in arrays. */
static unsigned depth(void **slot)
{
    unsigned n = 0;
    duckdb_logical_type type = type_of(slot);
    while (type && duckdb_get_type_id(type) == DUCKDB_TYPE_LIST) {
        duckdb_logical_type inner = duckdb_list_type_child_type(type);
        duckdb_destroy_logical_type(&type);
        type = inner;
        n++;
    }
    if (type)
        duckdb_destroy_logical_type(&type);
    return n;
}

static const char *arithmetic(char op, const struct numeric *a, const struct numeric *b)
{
    if (compat_exact_wanted(op, a, b))
        return op == '+' ? "quern_plus" : op == '-' ? "quern_minus" : "quern_times";
    if (here.profile != WIRE_PROFILE_TRINO || op == '*')
        return NULL;
    bool date = a->id == DUCKDB_TYPE_DATE, other = b->id == DUCKDB_TYPE_DATE;
    if (date && b->id == DUCKDB_TYPE_INTERVAL)
        return op == '+' ? "quern_date_plus" : "quern_date_minus";
    if (other && a->id == DUCKDB_TYPE_INTERVAL && op == '+')
        return "quern_plus_date";
    return date && other && op == '-' ? "quern_date_apart" : NULL;
}

static bool is(const struct library_function *f, const char *name)
{
    return f->name.n == strlen(name) && memcmp(f->name.p, name, f->name.n) == 0;
}

/* quern_text, quern_whole and quern_entries (CAST to varchar, to integers; UNNEST) do what their argument's type asks for.
 * NULL: nothing, so that they stand for the argument itself. */
static const char *by_type(const struct library_function *f, void **slot)
{
    duckdb_logical_type type = type_of(slot);
    duckdb_type id = type ? duckdb_get_type_id(type) : DUCKDB_TYPE_INVALID;
    char *alias = type ? duckdb_logical_type_get_alias(type) : NULL;
    bool real = id == DUCKDB_TYPE_DOUBLE || id == DUCKDB_TYPE_FLOAT,
         json = alias && strcmp(alias, "JSON") == 0;
    duckdb_free(alias);
    if (type)
        duckdb_destroy_logical_type(&type);
    if (is(f, "quern_entries"))
        return id == DUCKDB_TYPE_MAP ? "map_entries" : NULL;
    if (is(f, "quern_whole"))
        return real ? "quern_round" : NULL;
    return json                       ? "quern_json_text"
           : id == DUCKDB_TYPE_DOUBLE ? "quern_double_text"
           : real                     ? "quern_real_text"
                                      : NULL;
}

/* The function of ours that stands for the operator; NULL: it is the engine's. *ret_alone: an array's side that is to be
 * made an array of one by it, NULL: it takes both. */
static const char *ours(const struct library_function *f, const struct library_list *children,
                        void ***ret_alone)
{
    char op = f->name.n == 1 ? *f->name.p : 0;
    *ret_alone = NULL;
    if (here.profile == WIRE_PROFILE_PLAIN || children->end - children->begin != 2)
        return NULL;
    if (op == '+' || op == '-' || op == '*') {
        struct numeric a = side(children->begin), b = side(children->begin + 1);
        return arithmetic(op, &a, &b);
    }
    if (f->name.n == 2 && memcmp(f->name.p, "||", 2) == 0) {
        unsigned a = depth(children->begin), b = depth(children->begin + 1);
        *ret_alone = a == b + 1 ? children->begin + 1 : b == a + 1 ? children->begin : NULL;
        return *ret_alone ? "list_value" : NULL;
    }
    return NULL;
}

/* The library binds functions while it opens, long before there is a profile. */
static void resolve(void)
{
    here.bind = (bind_fn *)(uintptr_t)dlsym(RTLD_NEXT, BIND);
    here.bind_sum = (bind_sum_fn *)(uintptr_t)dlsym(RTLD_NEXT, BIND_SUM);
    here.bind_named = (bind_named_fn *)(uintptr_t)dlsym(RTLD_NEXT, BIND_NAMED);
    here.error_new = (error_new_fn *)(uintptr_t)dlsym(RTLD_NEXT, ERROR_NEW);
    here.error_throw = (error_throw_fn *)(uintptr_t)dlsym(RTLD_NEXT, ERROR_THROW);
    here.allocate = (allocate_fn *)(uintptr_t)dlsym(RTLD_NEXT, "_Znwm");
    if (!here.bind || !here.bind_sum)
        abort(); /* never: the call that came here was to one of them */
}

/* The function of that name with the arguments, which it takes over. */
static void bind_named(void **ret, void *binder, const char *name, struct library_list *arguments,
                       void *scope)
{
    struct library_text schema = {"main", 4, ""}, function = {name, strlen(name), ""}, none = {"", 0, ""};
    char error[512] __attribute__((aligned(16)));
    here.error_new(error);
    here.bind_named(ret, binder, &schema, &function, arguments, error, false, scope);
    if (!*ret)
        here.error_throw(error, &none);
}

/* ---- the library's door ---- */

bind_fn compat_operators_bind __asm__(BIND) __attribute__((visibility("default"), used));

void *compat_operators_bind(void **ret, void *binder, struct library_function *f,
                            struct library_list *children, bool is_operator, void *scope)
{
    void **alone;
    if (!here.bind)
        resolve();
    if (f->name.n > 6 && memcmp(f->name.p, "quern_", 6) == 0 && children->end - children->begin == 1 &&
        (is(f, "quern_text") || is(f, "quern_whole") || is(f, "quern_entries"))) {
        const char *means = by_type(f, children->begin);
        if (means) {
            bind_named(ret, binder, means, children, scope);
        } else {
            *ret = *children->begin;
            *children->begin = NULL;
        }
        return ret;
    }
    const char *name = ours(f, children, &alone);
    if (name && !alone) {
        bind_named(ret, binder, name, children, scope);
        return ret;
    }
    if (name) {
        struct library_list one;
        one.begin = here.allocate(sizeof *one.begin); /* the library gives it back */
        one.end = one.cap = one.begin + 1;
        *one.begin = *alone;
        *alone = NULL;
        bind_named(alone, binder, name, &one, scope);
    }
    return here.bind(ret, binder, f, children, is_operator, scope);
}

bind_sum_fn compat_operators_sum __asm__(BIND_SUM) __attribute__((visibility("default"), used));

void *compat_operators_sum(void **ret, void *binder, struct library_function *f,
                           struct library_list *children, void **filter, int type)
{
    if (!here.bind)
        resolve();
    if (here.profile != WIRE_PROFILE_PLAIN && f->name.n == 3 && memcmp(f->name.p, "sum", 3) == 0 &&
        children->end - children->begin == 1) {
        struct numeric x = side(children->begin);
        compat_arith_summed(&x);
    }
    return here.bind_sum(ret, binder, f, children, filter, type);
}

/* ---- whether it is one ---- */

static struct numeric type_in(duckdb_connection c, const char *sql)
{
    duckdb_prepared_statement s = NULL;
    struct numeric x = {.id = DUCKDB_TYPE_INVALID};
    if (duckdb_prepare(c, sql, &s) == DuckDBSuccess) {
        duckdb_logical_type type = duckdb_prepared_statement_column_logical_type(s, 0);
        x = number_of(type);
        if (type)
            duckdb_destroy_logical_type(&type);
    }
    duckdb_destroy_prepare(&s);
    return x;
}

bool compat_operators_work(duckdb_connection c)
{
    uint8_t was = here.profile;
    if (!here.bind_named || !here.allocate || !here.error_new || !here.error_throw)
        return false;
    here.profile = WIRE_PROFILE_TRINO;
    struct numeric product = type_in(c, "SELECT CAST(1 AS DECIMAL(18, 0)) * 0.5"),
                   sum = type_in(c, "SELECT quern_sum(sum(CAST(1 AS REAL)))");
    bool ok = product.width == 20 && product.scale == 1 && sum.id == DUCKDB_TYPE_FLOAT;
    here.profile = WIRE_PROFILE_PLAIN;
    product = type_in(c, "SELECT CAST(1 AS DECIMAL(18, 0)) * 0.5");
    ok = ok && product.width == 18 && product.scale == 1;
    here.profile = was;
    return ok;
}
