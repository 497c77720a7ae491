/* The same rows that parse the options, as text: for errors and for the reference. */
#include "base/option.h"

static const char *type_name(enum option_type type) {
    switch (type) {
    case OPT_TEXT:
        return "text";
    case OPT_SECRET:
        return "secret text";
    case OPT_INT:
        return "number";
    case OPT_BYTES:
        return "bytes";
    case OPT_DURATION:
        return "duration";
    case OPT_BOOL:
        return "true or false";
    case OPT_ENUM:
        return "choice";
    case OPT_LIST:
        return "list";
    case OPT_MAP:
        return "mapping";
    }
    return "";
}

/* In the largest unit that is exact. */
static void put_number(struct buf *out, enum option_type type, int64_t n) {
    static const struct {
        const char *unit;
        int64_t factor;
    } bytes[] =
        {
            {"TB", (int64_t)1 << 40}, {"GB", (int64_t)1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1},
        },
      times[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t i = 0;
    if (type == OPT_BYTES && n > 0) {
        while (n % bytes[i].factor)
            i++;
        buf_printf(out, "%lld%s", (long long)(n / bytes[i].factor), bytes[i].unit);
    } else if (type == OPT_DURATION && n > 0) {
        while (n % times[i].factor)
            i++;
        buf_printf(out, "%lld%s", (long long)(n / times[i].factor), times[i].unit);
    } else {
        buf_printf(out, "%lld", (long long)n);
    }
}

static void put_choices(struct buf *out, const char *const *choices) {
    buf_puts(out, "one of ");
    for (size_t i = 0; choices[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : "", choices[i]);
}

void option_print_range(const struct option *o, struct buf *out) {
    if (o->type == OPT_ENUM)
        put_choices(out, o->choices);
    if (o->type != OPT_INT && o->type != OPT_BYTES && o->type != OPT_DURATION)
        return;
    bool forever = o->type == OPT_DURATION && o->min == -1;
    int64_t min = o->type != OPT_INT && o->min < 0 ? 0 : o->min; /* sizes and durations are never negative */
    size_t before = out->len;
    if (o->max) {
        put_number(out, o->type, min);
        buf_puts(out, " to ");
        put_number(out, o->type, o->max);
    } else if (min) {
        buf_puts(out, "at least ");
        put_number(out, o->type, min);
    }
    if (forever)
        buf_puts(out, out->len > before ? ", or forever" : "0 or more, or forever");
}

/* ---- reference ---- */

/* A table cell: no newline, and a bar is escaped. */
static void put_cell(struct buf *out, const char *text) {
    for (; text && *text; text++) {
        if (*text == '|')
            buf_putc(out, '\\');
        buf_putc(out, *text == '\n' ? ' ' : *text);
    }
}

/* "Help. Range." */
static void put_help(struct buf *out, const struct option *o) {
    CLEANUP_BUF range = {0};
    option_print_range(o, &range);
    if (o->help)
        buf_puts(out, o->help);
    if (!range.len)
        return;
    if (out->len && out->data[out->len - 1] != '.')
        buf_putc(out, '.');
    size_t start = out->len ? out->len + 1 : 0;
    if (out->len)
        buf_putc(out, ' ');
    buf_printf(out, "%s.", buf_cstr(&range));
    if (out->data[start] >= 'a' && out->data[start] <= 'z')
        out->data[start] -= 'a' - 'A';
}

static void put_default_cell(struct buf *out, const struct option *o) {
    if (o->required) {
        buf_puts(out, "*required*");
    } else if (o->fallback && o->type != OPT_SECRET) {
        buf_putc(out, '`');
        put_cell(out, *o->fallback ? o->fallback : "\"\"");
        buf_putc(out, '`');
    }
}

void option_print_markdown(const struct option_table *table, struct buf *out) {
    buf_printf(out, "### %s\n\n", table->name);
    if (table->summary)
        buf_printf(out, "%s\n\n", table->summary);
    buf_puts(out, "| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
    for (const struct option *o = table->options; o->name; o++) {
        CLEANUP_BUF help = {0};
        put_help(&help, o);
        buf_printf(out, "| `%s` | %s | ", o->name, type_name(o->type));
        put_default_cell(out, o);
        buf_puts(out, " | ");
        put_cell(out, buf_cstr(&help));
        buf_puts(out, " |\n");
    }
    buf_putc(out, '\n');
}

/* ---- terminal ---- */

/* Words of `text` in lines of at most 79 columns, each indented. */
static void put_wrapped(struct buf *out, const char *text, size_t indent) {
    enum { COLUMNS = 79 };
    size_t column = 0;
    while (*(text += strspn(text, " \n"))) {
        size_t word = strcspn(text, " \n");
        if (column && column + 1 + word > COLUMNS) {
            buf_putc(out, '\n');
            column = 0;
        }
        if (column)
            buf_putc(out, ' ');
        else
            buf_printf(out, "%*s", (int)indent, "");
        column += column ? 1 + word : indent + word;
        buf_put(out, text, word);
        text += word;
    }
    if (column)
        buf_putc(out, '\n');
}

void option_print_help(const struct option_table *table, struct buf *out) {
    buf_printf(out, "%s\n", table->name);
    if (table->summary)
        put_wrapped(out, table->summary, 2);
    for (const struct option *o = table->options; o->name; o++) {
        CLEANUP_BUF help = {0};
        put_help(&help, o);
        buf_printf(out, "\n  %s: %s", o->name, type_name(o->type));
        if (o->required)
            buf_puts(out, ", required");
        if (!o->required && o->fallback && o->type != OPT_SECRET)
            buf_printf(out, ", default %s", *o->fallback ? o->fallback : "\"\"");
        buf_putc(out, '\n');
        put_wrapped(out, buf_cstr(&help), 6);
    }
}
