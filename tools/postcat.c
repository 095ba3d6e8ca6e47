/*
 * postcat - shows what is in a queue file
 *
 * Invariants  read only; the output is that of Postfix's postcat, line for line
 */
#include "base/log.h"
#include "queue/file.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: postcat [-bdefhoqrv] [-c config_dir] [-s offset] [file...]\n"
    "Shows queue files: -b body, -e envelope, -h header (default: all).\n"
    "  -d  decimal record types     -o  offset of each record      -f  file name before each line\n"
    "  -q  files are queue ids      -r  file order, pointers are not followed\n"
    "  -s  begin at that offset     -v  show all records, each with its type\n";

enum part { ENVELOPE = 1, HEADER = 2, BODY = 4 };
static struct options {
    unsigned parts;
    bool decimal, offsets, raw, verbose, file_names, queue_ids;
    off_t start;
} opt;

static void put_prefix(const char *path, off_t offset, int type)
{
    if (opt.file_names)
        printf("%s: ", path);
    if (opt.offsets)
        printf("%9lu ", (unsigned long) offset);
    if (opt.decimal)
        printf("%3d ", type);
}

static void put_text(struct slice s) { fwrite(s.p ? s.p : "", 1, s.len, stdout); }

/* asctime in the local zone, without its line end. */
static void put_time(struct slice seconds)
{
    struct slice word = { NULL, 0 };
    char text[64] = "";
    struct tm tm;
    int64_t n = 0;
    time_t t;

    slice_word(&seconds, " ", &word);
    (void) slice_i64(word, 0, INT64_MAX, &n); /* nonsense shows as 1970 */
    t = (time_t) n;
    if (localtime_r(&t, &tm))
        strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &tm);
    puts(text);
}

static void put_named(const struct record *rec)
{
    const char *label = record_name(rec->type);

    printf("%s: ", label ? label : "unknown_record_type");
    put_text(rec->data);
    putchar('\n');
}

static void put_record(const struct record *rec)
{
    struct slice name, value;

    switch (rec->type) {
    case REC_TIME:
    case REC_WARN:
        printf("%s: ", record_name(rec->type));
        put_time(rec->data);
        return;
    case REC_ATTR:
        if (record_split_attr(rec->data, &name, &value) == 0 && slice_eq(name, "create_time")) {
            printf("create_time: ");
            put_time(value);
            return;
        }
        put_named(rec);
        return;
    default: put_named(rec);
    }
}

static void put_content(const struct record *rec, const char *path, off_t offset)
{
    put_prefix(path, offset, rec->type);
    if (opt.verbose) {
        printf("%s: ", rec->type == REC_CONT ? "unterminated_text" : record_name(rec->type));
        put_text(rec->data);
        putchar('\n');
        return;
    }
    put_text(rec->data);
    if (rec->type == REC_NORM || opt.offsets)
        putchar('\n');
}

static void put_marker(const char *path, off_t offset, const struct record *rec)
{
    static const struct {
        int type;
        const char *text;
    } markers[] = { { REC_MESG, "MESSAGE CONTENTS" },
                    { REC_XTRA, "HEADER EXTRACTED" },
                    { REC_END, "MESSAGE FILE END" } };

    if ((opt.parts & ENVELOPE) == 0)
        return;
    put_prefix(path, offset, rec->type);
    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++)
        if (markers[i].type == rec->type)
            printf("*** %s %s ***\n", markers[i].text, path);
}

/* Does this line of the content belong to the header? *part changes at the first that does not. */
static void put_line(const struct record *rec, const char *path, off_t offset, enum part *part, bool *inside)
{
    bool header = *inside || (rec->data.len && (rec->data.p[0] == ' ' || rec->data.p[0] == '\t'));

    for (size_t i = 0; !header && i < rec->data.len && rec->data.p[i] > ' '; i++)
        if (rec->data.p[i] == ':') {
            header = i > 0;
            break;
        }
    if (*part == HEADER && !header)
        *part = BODY;
    *inside = rec->type == REC_CONT;
    if (opt.parts & *part)
        put_content(rec, path, offset);
}

static int show(int fd, const char *path)
{
    struct queue_reader *r = queue_reader_new(fd);
    enum part part = ENVELOPE;
    struct queue_size size = { 0 };
    struct record rec;
    bool inside = false;
    off_t offset;
    int rc, jumps = 0;

    queue_reader_raw(r, opt.raw || opt.verbose);
    queue_reader_seek(r, opt.start);
    /* A record behind a pointer or padding is shown at the offset where the reader stood, as Postfix does. */
    while (offset = queue_reader_tell(r), (rc = queue_reader_next(r, &rec, NULL)) == 1) {
        if (offset == 0 && rec.type != REC_SIZE && rec.type != REC_TIME) {
            log_warn("%s: input is not a valid queue file", path);
            queue_reader_free(&r);
            return -1;
        }
        if (offset == opt.start && (opt.parts & ENVELOPE) && opt.start == 0)
            printf("*** ENVELOPE RECORDS %s ***\n", path);
        switch (rec.type) {
        case REC_MESG:
            part = HEADER;
            inside = false;
            put_marker(path, offset, &rec);
            if (!(opt.parts & (HEADER | BODY)) && size.data_offset > 0) /* unread content is passed over as a whole */
                queue_reader_seek(r, (off_t) (size.data_offset + size.data_bytes));
            break;
        case REC_XTRA:
            part = ENVELOPE;
            put_marker(path, offset, &rec);
            break;
        case REC_END: put_marker(path, offset, &rec); break;
        case REC_NORM:
        case REC_CONT:
            if (part == ENVELOPE && rec.type == REC_CONT && opt.start == 0)
                goto envelope; /* L is a filter there */
            if (part == ENVELOPE)
                part = BODY;
            put_line(&rec, path, offset, &part, &inside);
            break;
        case REC_SIZE:
            if (queue_size_parse(rec.data, &size) < 0 || size.data_bytes < 0 || size.data_bytes > INT64_MAX / 2)
                size.data_offset = 0;
            goto envelope;
        case REC_PTR: {
            int64_t to;
            if (opt.verbose && !opt.raw && slice_i64(slice_trim(rec.data), 1, INT64_MAX, &to) == 0 &&
                ++jumps <= QUEUE_JUMPS_BACK)
                queue_reader_seek(r, (off_t) to);
        }
            /* fall through */
        case REC_DTXT:
            if (!opt.verbose)
                break;
            /* fall through */
        default:
        envelope:
            if (rec.type == REC_DTXT || rec.type == REC_PTR || (opt.parts & ENVELOPE)) {
                put_prefix(path, offset, rec.type);
                put_record(&rec);
            }
        }
        if (rec.type == REC_END && !opt.raw)
            break;
    }
    if (rc < 0)
        log_warn("%s: %s", path, errno == EBADMSG ? "malformed or truncated queue file" : strerror(errno));
    queue_reader_free(&r);
    return rc < 0 ? -1 : 0;
}

static int open_id(const char *id, char path[QUEUE_PATH_BYTES])
{
    struct stat st;
    const char *queue = queue_find(id, &st);

    if (queue == NULL)
        tool_fatal(EXIT_FAILURE, "open queue file %s: %s", id, strerror(errno));
    queue_path(path, queue, id);
    return queue_open(queue, id, O_RDONLY);
}

static int show_argument(const char *arg)
{
    char path[QUEUE_PATH_BYTES];
    int fd, rc;

    if (opt.queue_ids) {
        fd = open_id(arg, path);
        arg = path;
    } else {
        fd = open(arg, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0)
        tool_fatal(EXIT_FAILURE, "open %s: %s", arg, strerror(errno));
    rc = show(fd, arg);
    close(fd);
    return rc;
}

/* Standard input can be a pipe; the reader needs offsets. */
static int show_stdin(void)
{
    FILE *copy = tmpfile();
    char buf[16384];
    size_t n;

    if (copy == NULL)
        tool_fatal(EXIT_FAILURE, "temporary file: %s", strerror(errno));
    while ((n = fread(buf, 1, sizeof buf, stdin)) > 0)
        if (fwrite(buf, 1, n, copy) != n)
            tool_fatal(EXIT_FAILURE, "write temporary file: %s", strerror(errno));
    if (fflush(copy) != 0 || ferror(stdin))
        tool_fatal(EXIT_FAILURE, "read standard input: %s", strerror(errno));
    return show(fileno(copy), "stdin");
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, NULL, 'H' }, { NULL, 0, NULL, 0 } };
    const char *config = NULL;
    int status = 0;

    tool_start(argv[0]);
    for (int c; (c = getopt_long(argc, argv, "bc:defhoqrs:v", longs, NULL)) != -1;) {
        switch (c) {
        case 'b': opt.parts |= BODY; break;
        case 'c': config = optarg; break;
        case 'd': opt.decimal = true; break;
        case 'e': opt.parts |= ENVELOPE; break;
        case 'f': opt.file_names = true; break;
        case 'h': opt.parts |= HEADER; break;
        case 'o': opt.offsets = true; break;
        case 'q': opt.queue_ids = true; break;
        case 'r': opt.raw = true; break;
        case 's': {
            int64_t n;
            if (slice_i64(slice_of(optarg), 0, INT64_MAX, &n) < 0)
                tool_fatal(EX_USAGE, "bad offset: %s", optarg);
            opt.start = (off_t) n;
            break;
        }
        case 'v': opt.verbose = true; break;
        case 'H': tool_help(usage); break;
        default: tool_fatal(EXIT_FAILURE, "%s", usage);
        }
    }
    if (opt.parts == 0)
        opt.parts = ENVELOPE | HEADER | BODY;
    if (opt.queue_ids || config) {
        tool_config(config, false);
        if (opt.queue_ids)
            tool_enter_queue();
    }
    if (optind == argc && !opt.queue_ids)
        status = show_stdin();
    for (; optind < argc; optind++)
        if (show_argument(argv[optind]) < 0)
            status = -1;
    if (fflush(stdout) != 0 || ferror(stdout))
        tool_fatal(EX_IOERR, "write output: %s", strerror(errno));
    return status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
