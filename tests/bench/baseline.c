/*
 * baseline: what the benchmark compares with, each as bare as it can be. See tests/bench/run.
 *
 *   baseline engine-select1 N       DuckDB in this process: SELECT 1 prepared, executed and read, N times; prints latencies
 *   baseline fsync DIR N            append 4 KiB + fdatasync to a file in DIR, N times; prints latencies
 *   baseline hello                  libmicrohttpd server that builds its response for each request; prints the port, ends with stdin
 *   baseline copy-csv PARQUET FILE THREADS   DuckDB's own COPY of all rows to CSV; prints seconds
 *   baseline copy-parquet PARQUET FILE THREADS   the same to Parquet
 *   baseline xlsx FILE ROWS         libxlsxwriter's own loop in constant memory: the five columns of the bench's XLSX; prints seconds
 *   baseline loopback FILE N        the file over loopback TCP with sendfile to a reader that drops it, N times; prints the best seconds
 *
 * Output is one line of JSON, so that the runner needs no parser. One thread, but for hello and loopback.
 */
#include <arpa/inet.h>
#include <duckdb.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xlsxwriter.h>

#include "bench.h"

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "baseline: %s failed (%m)\n", #x);                                               \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

/* ---- DuckDB ---- */

static duckdb_connection connect_duckdb(duckdb_database *db, const char *threads)
{
    duckdb_config config;
    duckdb_connection con;
    char *error = NULL;
    CHECK(duckdb_create_config(&config) == DuckDBSuccess);
    CHECK(duckdb_set_config(config, "threads", threads) == DuckDBSuccess);
    CHECK(duckdb_open_ext(NULL, db, config, &error) == DuckDBSuccess);
    duckdb_destroy_config(&config);
    CHECK(duckdb_connect(*db, &con) == DuckDBSuccess);
    return con;
}

static void select1(duckdb_connection con)
{
    duckdb_prepared_statement statement;
    duckdb_result result;
    CHECK(duckdb_prepare(con, "SELECT 1", &statement) == DuckDBSuccess);
    CHECK(duckdb_execute_prepared(statement, &result) == DuckDBSuccess);
    duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
    CHECK(chunk && ((int32_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0)))[0] == 1);
    duckdb_destroy_data_chunk(&chunk);
    duckdb_destroy_result(&result);
    duckdb_destroy_prepare(&statement);
}

static int engine_select1(long n)
{
    duckdb_database db;
    duckdb_connection con = connect_duckdb(&db, "2");
    struct samples s = samples_new(n);
    for (long i = 0; i < n; i++) {
        int64_t t = bench_now();
        select1(con);
        samples_add(&s, bench_now() - t);
    }
    duckdb_disconnect(&con);
    duckdb_close(&db);
    samples_print(&s);
    return 0;
}

static int copy(const char *parquet, const char *file, const char *threads, const char *options)
{
    duckdb_database db;
    duckdb_connection con = connect_duckdb(&db, threads);
    duckdb_result result;
    char sql[8192];
    (void)snprintf(sql, sizeof sql, "COPY (SELECT * FROM read_parquet('%s')) TO '%s' (%s)", parquet, file,
                   options);
    int64_t t = bench_now();
    if (duckdb_query(con, sql, &result) != DuckDBSuccess) {
        fprintf(stderr, "baseline: %s\n", duckdb_result_error(&result));
        return 1;
    }
    printf("{\"seconds\":%.6f}\n", (double)(bench_now() - t) / 1e9);
    duckdb_destroy_result(&result);
    duckdb_disconnect(&con);
    duckdb_close(&db);
    return 0;
}

/* ---- XLSX ---- */

/* The rows of SELECT range AS n, 'label ' || range AS label, range * 1.5 AS x, range % 1000 AS k, 'some text' AS t. */
static int xlsx(const char *file, long rows)
{
    int64_t t = bench_now();
    static char here[] = ".";
    lxw_workbook_options options = {.constant_memory = LXW_TRUE, .tmpdir = here};
    lxw_workbook *book = workbook_new_opt(file, &options);
    lxw_worksheet *sheet = workbook_add_worksheet(book, "query_result");
    CHECK(sheet);
    char label[64];
    for (long i = 0; i < rows; i++) {
        lxw_row_t row = (lxw_row_t)i;
        (void)snprintf(label, sizeof label, "label %ld", i);
        worksheet_write_number(sheet, row, 0, (double)i, NULL);
        worksheet_write_string(sheet, row, 1, label, NULL);
        worksheet_write_number(sheet, row, 2, (double)i * 1.5, NULL);
        worksheet_write_number(sheet, row, 3, (double)(i % 1000), NULL);
        worksheet_write_string(sheet, row, 4, "some text", NULL);
    }
    CHECK(workbook_close(book) == LXW_NO_ERROR);
    printf("{\"seconds\":%.6f}\n", (double)(bench_now() - t) / 1e9);
    return 0;
}

/* ---- fsync ---- */

static int fsync_loop(const char *dir, long n)
{
    char path[4096], block[4096];
    memset(block, 'x', sizeof block);
    (void)snprintf(path, sizeof path, "%s/bench-fsync-%ld", dir, (long)getpid());
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    struct samples s = samples_new(n);
    for (long i = 0; i < n; i++) {
        int64_t t = bench_now();
        CHECK(write(fd, block, sizeof block) == (ssize_t)sizeof block);
        CHECK(fdatasync(fd) == 0);
        samples_add(&s, bench_now() - t);
    }
    close(fd);
    unlink(path);
    samples_print(&s);
    return 0;
}

/* ---- hello ---- */

static enum MHD_Result hello_answer(void *arg, struct MHD_Connection *c, const char *url, const char *method,
                                    const char *version, const char *data, size_t *size, void **state)
{
    static int seen;
    (void)arg, (void)url, (void)method, (void)version, (void)data;
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    if (*size) {
        *size = 0;
        return MHD_YES;
    }
    static const char text[] = "{\"hello\":\"world\"}\n";
    struct MHD_Response *r =
        MHD_create_response_from_buffer(sizeof text - 1, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    MHD_add_response_header(r, "Content-Type", "application/json");
    enum MHD_Result ok = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return ok;
}

static int hello(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, hello_answer, NULL,
                                            MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
    CHECK(d);
    printf("%u\n", MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
    MHD_stop_daemon(d);
    return 0;
}

/* ---- loopback ---- */

static int listener(uint16_t *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 4) == 0 &&
          getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

struct sender {
    int listen;
    const char *path;
};

static void *send_file(void *arg)
{
    struct sender *s = arg;
    struct stat st;
    int one = 1, file = open(s->path, O_RDONLY | O_CLOEXEC), to = accept(s->listen, NULL, NULL);
    CHECK(file >= 0 && to >= 0 && fstat(file, &st) == 0);
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    off_t at = 0;
    while (at < st.st_size)
        CHECK(sendfile(to, file, &at, (size_t)(st.st_size - at)) > 0);
    close(to);
    close(file);
    return NULL;
}

static int loopback(const char *path, long n)
{
    uint16_t port;
    int l = listener(&port);
    char *buffer = malloc(BENCH_READ);
    double best = 1e9;
    int64_t total = 0;
    for (long i = 0; i < n; i++) {
        pthread_t t;
        struct sender s = {l, path};
        struct sockaddr_in a = {
            .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
        CHECK(pthread_create(&t, NULL, send_file, &s) == 0);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int64_t start = bench_now();
        CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
        ssize_t got;
        total = 0;
        while ((got = read(fd, buffer, BENCH_READ)) > 0)
            total += got;
        double seconds = (double)(bench_now() - start) / 1e9;
        if (seconds < best)
            best = seconds;
        close(fd);
        pthread_join(t, NULL);
    }
    printf("{\"seconds\":%.6f,\"bytes\":%lld}\n", best, (long long)total);
    free(buffer);
    close(l);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "engine-select1") && argc == 3)
        return engine_select1(atol(argv[2]));
    if (!strcmp(what, "fsync") && argc == 4)
        return fsync_loop(argv[2], atol(argv[3]));
    if (!strcmp(what, "hello") && argc == 2)
        return hello();
    if (!strcmp(what, "copy-csv") && argc == 5)
        return copy(argv[2], argv[3], argv[4], "FORMAT csv, HEADER");
    if (!strcmp(what, "copy-parquet") && argc == 5)
        return copy(argv[2], argv[3], argv[4], "FORMAT parquet");
    if (!strcmp(what, "xlsx") && argc == 4)
        return xlsx(argv[2], atol(argv[3]));
    if (!strcmp(what, "loopback") && argc == 4)
        return loopback(argv[2], atol(argv[3]));
    fprintf(stderr, "usage: baseline engine-select1 N | fsync DIR N | hello | copy-csv PARQUET FILE THREADS "
                    "| loopback FILE N\n");
    return 2;
}
