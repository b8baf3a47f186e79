#include "ir/status.h"

#include "ir/mem.h"

#include <stdio.h>
#include <string.h>

struct StatusRec {
    StatusCode code;
    char *text; /* heap, except in the static record */
};

static struct StatusRec out_of_memory = {STATUS_ENVIRONMENT, (char *)"out of memory: close other programs, or use a "
                                                                     "smaller model, batch or input shape"};

Status status_oom(void) { return &out_of_memory; }

static char *format(const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *text = n < 0 ? NULL : mem_alloc((size_t)n + 1);
    if (text) vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

Status status_vmake(StatusCode code, const char *fmt, va_list ap) {
    struct StatusRec *s = mem_alloc(sizeof *s);
    char *text = format(fmt, ap);
    if (!s || !text) {
        mem_free(s);
        mem_free(text);
        return &out_of_memory;
    }
    *s = (struct StatusRec){code, text};
    return s;
}

Status status_make(StatusCode code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    Status s = status_vmake(code, fmt, ap);
    va_end(ap);
    return s;
}

Status status_context(Status s, const char *fmt, ...) {
    if (!s || s == &out_of_memory) return s;
    va_list ap;
    va_start(ap, fmt);
    char *prefix = format(fmt, ap);
    va_end(ap);
    size_t a = prefix ? strlen(prefix) : 0, b = strlen(s->text);
    char *text = prefix ? mem_alloc(a + 2 + b + 1) : NULL;
    if (text) {
        memcpy(text, prefix, a);
        memcpy(text + a, ": ", 2);
        memcpy(text + a + 2, s->text, b + 1);
        mem_free(s->text);
        s->text = text;
    }
    mem_free(prefix);
    return s;
}

StatusCode status_code(Status s) { return s ? s->code : STATUS_OK; }

const char *status_text(Status s) { return s ? s->text : ""; }

void status_free(Status s) {
    if (!s || s == &out_of_memory) return;
    mem_free(s->text);
    mem_free(s);
}
