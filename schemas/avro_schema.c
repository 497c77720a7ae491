/* A table's Avro schemas, printed as Confluent's AvroData prints Debezium's Connect schemas: same names, same
 * field order, same order of attributes inside each object, so that whoever reads Debezium's topics reads
 * ours. */
#include "schemas/avro_schema.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define DEPTH_MAX      32
#define JSON_BYTES_MAX ((size_t)4 << 20)

static const struct {
    const char *avro, *connect_name;
} kinds[KIND_COUNT] = {
#define X(id, tag, avro, connect_name, text) {avro, connect_name},
    KIND_TABLE(X)
#undef X
};

/* ---- JSON ---- */

/* Appends a piece of JSON that is written with ' for ". */
static void put(struct buf *out, const char *json) {
    for (; *json; json++)
        buf_putc(out, *json == '\'' ? '"' : *json);
}

/* The inside of a JSON string. */
static void put_escaped(struct buf *out, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20) {
            buf_printf(out, "\\u%04x", c);
        } else {
            if (c == '"' || c == '\\')
                buf_putc(out, '\\');
            buf_putc(out, (char)c);
        }
    }
}

static void put_string(struct buf *out, const char *text) {
    buf_putc(out, '"');
    put_escaped(out, text);
    buf_putc(out, '"');
}

static void put_strings(struct buf *out, const char *const *list) {
    buf_putc(out, '[');
    for (size_t i = 0; list && list[i]; i++) {
        if (i)
            buf_putc(out, ',');
        put_string(out, list[i]);
    }
    buf_putc(out, ']');
}

static void put_pair(struct buf *out, const char *a, const char *b) {
    put_strings(out, (const char *const[]){a, b, NULL});
}

/* ---- names ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || is_digit(c);
}

static bool is_utf8_tail(char c) {
    return ((unsigned char)c & 0xC0) == 0x80;
}

static void name_write(const char *text, size_t len, struct buf *out) {
    if (len == 0 || is_digit(text[0]))
        buf_putc(out, '_');
    for (size_t i = 0; i < len; i++) {
        if (is_name_char(text[i]))
            buf_putc(out, text[i]);
        else if (!is_utf8_tail(text[i])) /* one '_' per character, however many bytes it has */
            buf_putc(out, '_');
    }
}

void avro_name(const char *text, struct buf *out) {
    name_write(text, strlen(text), out);
}

/* A topic as an Avro namespace: each of its dotted parts made a name. */
static void namespace_write(const char *topic, struct buf *out) {
    for (;;) {
        size_t len = strcspn(topic, ".");
        name_write(topic, len, out);
        topic += len;
        if (*topic++ == '\0')
            return;
        buf_putc(out, '.');
    }
}

/* Field names of all columns, in column order. */
struct names {
    struct arena arena;
    const char **plain; /* adjusted */
    const char **final; /* adjusted and unique */
};

static bool name_taken(const struct names *names, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (strcmp(names->final[i], name) == 0)
            return true;
    return false;
}

static const char *name_unique(struct names *names, int n) {
    const char *name = names->plain[n];
    if (!name_taken(names, n, name))
        return name;
    int number = 1;
    for (int i = 0; i < n; i++)
        number += strcmp(names->plain[i], name) == 0;
    if (number < 2)
        number = 2;
    for (;; number++) {
        const char *numbered = arena_printf(&names->arena, "%s_%d", name, number);
        if (!name_taken(names, n, numbered))
            return numbered;
    }
}

static void names_make(struct names *names, const struct table *table) {
    *names = (struct names){0};
    size_t size = ((size_t)table->n_columns + 1) * sizeof(char *);
    names->plain = arena_zalloc(&names->arena, size);
    names->final = arena_zalloc(&names->arena, size);
    CLEANUP_BUF name = {0};
    for (int i = 0; i < table->n_columns; i++) {
        buf_clear(&name);
        avro_name(table->columns[i].name, &name);
        names->plain[i] = arena_strndup(&names->arena, name.data, name.len);
        names->final[i] = name_unique(names, i);
    }
}

/* ---- columns ---- */

static void put_parameters_enum(struct buf *out, const char *const *labels) {
    put(out, ",'connect.parameters':{'allowed':\"");
    for (size_t i = 0; labels && labels[i]; i++) {
        if (i)
            buf_putc(out, ',');
        put_escaped(out, labels[i]);
    }
    put(out, "'}");
}

static void put_decimal(struct buf *out, const struct column *column) {
    assert(column->scale >= 0 && column->scale <= column->precision);
    buf_printf(out, "{\"type\":\"bytes\",\"scale\":%d,\"precision\":%d,", column->scale, column->precision);
    buf_printf(out, "\"connect.version\":1,\"connect.parameters\":{\"scale\":\"%d\",", column->scale);
    buf_printf(out, "\"connect.decimal.precision\":\"%d\"},\"connect.name\":\"%s\",", column->precision,
               kinds[KIND_DECIMAL].connect_name);
    put(out, "'logicalType':'decimal'}");
}

/* Avro wants a named type defined once and then called by its full name. */
static void put_point(struct buf *out, bool *point_seen) {
    if (*point_seen) {
        put(out, "'io.debezium.data.geometry.Point'");
        return;
    }
    *point_seen = true;
    put(out, "{'type':'record','name':'Point','namespace':'io.debezium.data.geometry','fields':["
             "{'name':'x','type':'double'},"
             "{'name':'y','type':'double'},"
             "{'name':'wkb','type':['null','bytes'],'default':null},"
             "{'name':'srid','type':['null','int'],'default':null}"
             "],'connect.doc':'Geometry (POINT)','connect.version':1,"
             "'connect.name':'io.debezium.data.geometry.Point'}");
}

static void put_named(struct buf *out, const struct column *column) {
    put(out, "{'type':'");
    put(out, kinds[column->kind].avro);
    put(out, "','connect.version':1");
    if (column->kind == KIND_ENUM && column->labels)
        put_parameters_enum(out, column->labels);
    else if (column->kind == KIND_BITS)
        buf_printf(out, ",\"connect.parameters\":{\"length\":\"%d\"}", column->length);
    put(out, ",'connect.name':'");
    put(out, kinds[column->kind].connect_name);
    put(out, "'}");
}

static void put_type(struct buf *out, const struct column *column, bool *point_seen) {
    if (column->kind == KIND_DECIMAL)
        put_decimal(out, column);
    else if (column->kind == KIND_POINT)
        put_point(out, point_seen);
    else if (column->kind == KIND_INT16)
        put(out, "{'type':'int','connect.type':'int16'}");
    else if (kinds[column->kind].connect_name)
        put_named(out, column);
    else
        put_string(out, kinds[column->kind].avro);
}

static void put_field(struct buf *out, const struct column *column, const char *name, bool nullable,
                      bool *point_seen) {
    put(out, "{'name':");
    put_string(out, name);
    put(out, nullable ? ",'type':['null'," : ",'type':");
    put_type(out, column, point_seen);
    put(out, nullable ? "],'default':null" : "");
}

static void put_attributes_of(struct buf *out, const struct column *column, const char *name) {
    put(out, ",'millrace.type':");
    put_string(out, column->type);
    if (column->key)
        buf_printf(out, ",\"millrace.key\":%d", column->key);
    if (strcmp(name, column->name) != 0) {
        put(out, ",'millrace.name':");
        put_string(out, column->name);
    }
    if (column->missing) {
        put(out, ",'millrace.missing':");
        put_string(out, column->missing);
    }
    buf_putc(out, '}');
}

/* ---- records ---- */

static void put_attributes(struct buf *out, const struct user_type *type) {
    buf_putc(out, '[');
    for (size_t i = 0; type->labels && type->labels[i]; i++) {
        if (i)
            buf_putc(out, ',');
        put_pair(out, type->labels[i], type->label_types[i]);
    }
    buf_putc(out, ']');
}

static void put_user_type(struct buf *out, const struct user_type *type) {
    switch (type->kind) {
    case USER_TYPE_ENUM:
        put(out, "{'enum':");
        put_pair(out, type->schema, type->name);
        put(out, ",'labels':");
        put_strings(out, type->labels);
        break;
    case USER_TYPE_COMPOSITE:
        put(out, "{'composite':");
        put_pair(out, type->schema, type->name);
        put(out, ",'attributes':");
        put_attributes(out, type);
        break;
    case USER_TYPE_EXTENSION:
        put(out, "{'extension':");
        put_string(out, type->name);
        break;
    }
    buf_putc(out, '}');
}

static void put_user_types(struct buf *out, const struct table *table) {
    if (table->n_types == 0)
        return;
    put(out, ",'millrace.types':[");
    for (int i = 0; i < table->n_types; i++) {
        if (i)
            buf_putc(out, ',');
        put_user_type(out, &table->types[i]);
    }
    buf_putc(out, ']');
}

static void put_connect_name(struct buf *out, const char *topic, const char *record) {
    put(out, "'connect.name':'");
    namespace_write(topic, out);
    buf_printf(out, ".%s\"", record);
}

static void put_value_record(struct buf *out, const struct table *table, const char *topic) {
    struct names names;
    names_make(&names, table);
    bool point_seen = false;
    put(out, "{'type':'record','name':'Value','fields':[");
    for (int i = 0; i < table->n_columns; i++) {
        if (i)
            buf_putc(out, ',');
        const struct column *column = &table->columns[i];
        put_field(out, column, names.final[i], column->nullable, &point_seen);
        put_attributes_of(out, column, names.final[i]);
    }
    put(out, "],");
    put_connect_name(out, topic, "Value");
    put(out, ",'millrace.table':");
    put_pair(out, table->schema, table->name);
    if (table->incarnation)
        buf_printf(out, ",\"millrace.incarnation\":%" PRIu64, table->incarnation);
    put(out, table->partial ? ",'millrace.partial':true" : "");
    put_user_types(out, table);
    buf_putc(out, '}');
    arena_free(&names.arena);
}

/* Debezium's io.debezium.connector.postgresql.Source since 3.5. */
static const char source_record[] =
    "{'type':'record','name':'Source','namespace':'io.debezium.connector.postgresql','fields':["
    "{'name':'version','type':'string'},"
    "{'name':'connector','type':'string'},"
    "{'name':'name','type':'string'},"
    "{'name':'ts_ms','type':'long'},"
    "{'name':'snapshot','type':[{'type':'string','connect.version':1,'connect.parameters':{'allowed':"
    "'true,first,first_in_data_collection,last_in_data_collection,last,false,incremental'},"
    "'connect.default':'false','connect.name':'io.debezium.data.Enum'},'null'],'default':'false'},"
    "{'name':'db','type':'string'},"
    "{'name':'sequence','type':['null','string'],'default':null},"
    "{'name':'ts_us','type':['null','long'],'default':null},"
    "{'name':'ts_ns','type':['null','long'],'default':null},"
    "{'name':'schema','type':'string'},"
    "{'name':'table','type':'string'},"
    "{'name':'txId','type':['null','long'],'default':null},"
    "{'name':'lsn','type':['null','long'],'default':null},"
    "{'name':'xmin','type':['null','long'],'default':null},"
    "{'name':'origin','type':['null','string'],'default':null},"
    "{'name':'origin_lsn','type':['null','long'],'default':null}"
    "],'connect.version':1,'connect.name':'io.debezium.connector.postgresql.Source'}";

static const char transaction_record[] = "{'type':'record','name':'block','namespace':'event','fields':["
                                         "{'name':'id','type':'string'},"
                                         "{'name':'total_order','type':'long'},"
                                         "{'name':'data_collection_order','type':'long'}"
                                         "],'connect.version':1,'connect.name':'event.block'}";

void avro_schema_value(const struct table *table, const char *topic, struct buf *out) {
    put(out, "{'type':'record','name':'Envelope','namespace':'");
    namespace_write(topic, out);
    put(out, "','fields':[{'name':'before','type':['null',");
    put_value_record(out, table, topic);
    put(out,
        "],'default':null},{'name':'after','type':['null','Value'],'default':null},{'name':'source','type':");
    put(out, source_record);
    put(out, "},{'name':'transaction','type':['null',");
    put(out, transaction_record);
    put(out, "],'default':null},"
             "{'name':'op','type':'string'},"
             "{'name':'ts_ms','type':['null','long'],'default':null},"
             "{'name':'ts_us','type':['null','long'],'default':null},"
             "{'name':'ts_ns','type':['null','long'],'default':null}"
             "],'connect.version':2,");
    put_connect_name(out, topic, "Envelope");
    buf_putc(out, '}');
}

void avro_schema_key(const struct table *table, const char *topic, struct buf *out) {
    struct names names;
    names_make(&names, table);
    bool point_seen = false;
    put(out, "{'type':'record','name':'Key','namespace':'");
    namespace_write(topic, out);
    put(out, "','fields':[");
    for (int i = 0; i < table->n_key; i++) {
        if (i)
            buf_putc(out, ',');
        /* Without our attributes and without labels: key bytes hold the schema's id, and a key that got other
         * bytes by a longer varchar or a new label would never be superseded in a compacted topic. */
        struct column column = table->columns[table->key[i]];
        column.labels = NULL;
        put_field(out, &column, names.final[table->key[i]], false, &point_seen);
        buf_putc(out, '}');
    }
    put(out, "],");
    put_connect_name(out, topic, "Key");
    buf_putc(out, '}');
    arena_free(&names.arena);
}

void avro_schema_truncate_key(struct buf *out) {
    put(out, "{'type':'record','name':'TruncateKey','namespace':'millrace',"
             "'fields':[{'name':'table','type':'string'}],'connect.name':'millrace.TruncateKey'}");
}

/* ---- strip ---- */

static bool attribute_stripped(const char *name) {
    return strncmp(name, "connect.", 8) == 0 || strncmp(name, "millrace.", 9) == 0 ||
           strcmp(name, "default") == 0 || strcmp(name, "logicalType") == 0;
}

/* False if nested too deep. */
static bool strip(json_t *json, int depth) {
    if (depth > DEPTH_MAX)
        return false;
    const char *name;
    json_t *item;
    void *next;
    json_object_foreach_safe(json, next, name, item) {
        if (attribute_stripped(name))
            json_object_del(json, name);
        else if (!strip(item, depth + 1))
            return false;
    }
    size_t i;
    json_array_foreach(json, i, item) {
        if (!strip(item, depth + 1))
            return false;
    }
    return true;
}

static int dump_to_buf(const char *data, size_t len, void *out) {
    buf_put(out, data, len);
    return 0;
}

enum code avro_schema_strip(struct slice json, struct buf *out, struct err *err) {
    if (json.len > JSON_BYTES_MAX)
        return err_set(err, FATAL, ERR_JOURNAL_CORRUPT, "an Avro schema of %zu bytes is larger than 4 MB",
                       json.len);
    json_error_t problem;
    json_t *root = json_loadb(json.data, json.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &problem);
    if (!root)
        return err_set(err, FATAL, ERR_JOURNAL_CORRUPT, "an Avro schema is not JSON: %s at byte %d",
                       problem.text, problem.position);
    enum code code = OK;
    if (!strip(root, 1))
        code = err_set(err, FATAL, ERR_JOURNAL_CORRUPT, "an Avro schema is nested deeper than %d", DEPTH_MAX);
    else if (json_dump_callback(root, dump_to_buf, out, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        code = err_set(err, FATAL, ERR_JOURNAL_CORRUPT, "an Avro schema cannot be printed again");
    json_decref(root);
    return code;
}
