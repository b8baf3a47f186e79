/* pare compile: an optimized model as one file that opens fast (.pare), or optimized ONNX. */
#include "cli/compress.h"
#include "cli/variant.h"
#include "passes/pass.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct CompileFlags {
    const char *model, *output, *target, *precision, *calib;
    bool random;
    int64_t opset;
    QuantFlags quant;
    DataFlags data;
    CommonFlags common;
} CompileFlags;

static Status check_flags(const CompileFlags *f, bool *int8) {
    if (f->target && strcmp(f->target, "cpu") != 0)
        return status_make(STATUS_UNSUPPORTED, "--target %s is not supported yet; cpu is", f->target);
    const char *p = f->precision ? f->precision : "auto";
    bool has_data = f->calib || f->random;
    if (!strcmp(p, "fp16"))
        return status_make(STATUS_UNSUPPORTED, "--precision fp16 is not supported yet; fp32, bf16, int8 and auto are");
    if (strcmp(p, "fp32") != 0 && strcmp(p, "bf16") != 0 && strcmp(p, "int8") != 0 && strcmp(p, "auto") != 0)
        return status_make(STATUS_USAGE, "--precision: '%s' is none of fp32, bf16, fp16, int8, auto", p);
    if ((!strcmp(p, "fp32") || !strcmp(p, "bf16")) && has_data)
        return status_make(STATUS_USAGE, "--precision %s does not use calibration data", p);
    if (!strcmp(p, "bf16") && !is_artifact_path(f->output))
        return status_make(STATUS_USAGE, "--precision bf16 is for .pare output: %s would stay float32", f->output);
    *int8 = !strcmp(p, "int8") || (!strcmp(p, "auto") && has_data);
    return NULL;
}

/* An int8 graph from a float one; a model that has integer products already is left alone. */
static Status make_int8(const CompileFlags *f, Model *m, Provenance *p, char data[SHA256_HEX]) {
    if (!strcmp(m->variant, "int8")) return NULL;
    Progress progress = progress_new("calibrate", &f->common);
    QuantSetup setup;
    TRY(quant_setup(&f->quant, &f->common, &progress, &setup));
    Dataset *ds = NULL;
    Calibration *calibration = NULL;
    Graph *q = NULL;
    QuantizeReport report = {0};
    Status s = open_calibration(f->calib, f->random, &f->data, &f->common, m->graph, &ds);
    if (!s) s = dataset_sha256(ds, data);
    if (!s) s = calibration_new(m->graph, ds, &setup.options, &calibration);
    if (!s) s = quantize_graph(m->graph, calibration, &setup.options, &q, &report);
    if (!s) {
        graph_free(m->graph);
        m->graph = q;
        p->data_sha256 = data;
        p->random_calibration = f->random;
        p->calibrator = calibrator_name(setup.options.calibrator);
        if (!f->common.quiet) print_floats(&report);
    }
    quantize_report_free(&report);
    calibration_free(calibration);
    dataset_free(ds);
    quant_setup_free(&setup);
    return s;
}

/* Float products in bf16; their weights are rounded once, when the artifact is written. */
static Status make_bf16(const CompileFlags *f, const Model *m, Provenance *p) {
    if (!strcmp(m->variant, "int8"))
        return status_make(STATUS_USAGE, "--precision bf16: the model has integer products already");
    p->precision = "bf16";
    if (bf16_missing() && !f->common.quiet) printf("note: %s, so here the model will run in fp32\n", bf16_missing());
    return NULL;
}

static Status compile_model(const CompileFlags *f, Model *m, bool int8) {
    Provenance p = {.source_sha256 = m->sha256};
    char data[SHA256_HEX];
    TRY(apply_shapes(m->graph, &f->data.shapes));
    /* Weights of a bf16 artifact become plain constants again, for whatever they are to be next. */
    if (m->artifact) TRY(pipeline_run(m->graph, "fold", &(PipelineOptions){0}));
    p.precision = int8 ? "int8" : graph_variant(m->graph);
    if (int8) TRY(make_int8(f, m, &p, data));
    if (f->precision && !strcmp(f->precision, "bf16")) TRY(make_bf16(f, m, &p));
    TRY(write_model(m->graph, f->output, (int)f->opset, &p));
    struct stat st;
    if (!f->common.quiet && !stat(f->output, &st))
        printf("%s: %lld bytes, %.3f of the source\n", f->output, (long long)st.st_size,
               (double)st.st_size / (double)m->bytes);
    if (!f->common.json) return NULL;
    return json_write(f->common.json, json_pack("{s:i, s:s, s:s, s:s}", "schema_version", 1, "file", f->output,
                                                "precision", p.precision, "source_sha256", m->sha256));
}

Status cmd_compile(int argc, char **argv) {
    CompileFlags f = {0};
    const Option options[] = {
        {"--model", "-m", OPT_STRING, &f.model, "FILE", "model: .onnx or .pare"},
        {"--output", "-o", OPT_STRING, &f.output, "FILE", ".pare, or .onnx for an optimized ONNX model"},
        {"--target", NULL, OPT_STRING, &f.target, "T", "cpu (default)"},
        {"--precision", NULL, OPT_STRING, &f.precision, "P",
         "fp32, bf16, int8 or auto (default: int8 when --calib is given)"},
        {"--calib", NULL, OPT_STRING, &f.calib, "DATA", "calibration samples for int8"},
        {"--random-calib", NULL, OPT_FLAG, &f.random, NULL, "calibrate on random numbers (only to measure speed)"},
        {"--opset", NULL, OPT_INT, &f.opset, "N", "of .onnx output (default: the lowest that can express it)"},
        QUANT_OPTIONS(f.quant),
        DATA_OPTIONS(f.data),
        SHAPE_OPTION(f.data),
    };
    const Command *c = command_find("compile");
    bool help, int8;
    TRY(args_parse(c, argc, argv, options, N_OPTIONS(options), &f.common, NULL, &help));
    if (help) return NULL;
    TRY(args_require(c, "-m MODEL", f.model));
    TRY(args_require(c, "-o OUTPUT", f.output));
    TRY(check_output(f.output));
    TRY(check_flags(&f, &int8));
    Model m;
    TRY(model_load(f.model, true, &m));
    Status s = compile_model(&f, &m, int8);
    model_free(&m);
    return s;
}
