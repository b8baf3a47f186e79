/* pare quantize: int8 with calibration, as Q/DQ ONNX or compiled. */
#include "cli/compress.h"
#include "cli/variant.h"

#include <stdio.h>
#include <string.h>

typedef struct QuantizeFlags {
    const char *model, *output, *calib;
    bool random;
    int64_t opset;
    QuantFlags quant;
    DataFlags data;
    CommonFlags common;
} QuantizeFlags;

static json_t *report_json(const QuantizeReport *r, const char *output) {
    json_t *layers = json_array();
    for (int i = 0; i < r->n_layers; i++) {
        const QuantizedLayer *l = &r->layers[i];
        json_t *row = json_pack("{s:s, s:s, s:b}", "name", l->name, "op", l->op, "integer", l->integer);
        if (l->why) json_object_set_new(row, "why", json_string(l->why));
        json_array_append_new(layers, row);
    }
    return json_pack("{s:i, s:s, s:i, s:o}", "schema_version", 1, "file", output, "integer_products", r->n_integer,
                     "layers", layers);
}

static Status quantize(const QuantizeFlags *f, const Model *m, Dataset *ds, QuantSetup *setup) {
    Calibration *calibration;
    TRY(calibration_new(m->graph, ds, &setup->options, &calibration));
    Graph *q = NULL;
    QuantizeReport report = {0};
    char data[SHA256_HEX];
    Status s = quantize_graph(m->graph, calibration, &setup->options, &q, &report);
    if (!s) s = dataset_sha256(ds, data);
    if (!s) {
        Provenance p = {
            .source_sha256 = m->sha256, .data_sha256 = data, .random_calibration = f->random, .precision = "int8"};
        p.calibrator = calibrator_name(setup->options.calibrator);
        s = write_model(q, f->output, (int)f->opset, &p);
    }
    if (!s && !f->common.quiet && !(f->common.json && !strcmp(f->common.json, "-"))) {
        printf("%s written, calibrated on %s\n", f->output,
               f->random ? "RANDOM numbers: its accuracy means nothing" : f->calib);
        print_floats(&report);
    }
    if (!s && f->common.json) s = json_write(f->common.json, report_json(&report, f->output));
    graph_free(q);
    quantize_report_free(&report);
    calibration_free(calibration);
    return s;
}

Status cmd_quantize(int argc, char **argv) {
    QuantizeFlags f = {0};
    const Option options[] = {
        {"--model", "-m", OPT_STRING, &f.model, "FILE", "float model (.onnx)"},
        {"--output", "-o", OPT_STRING, &f.output, "FILE", ".onnx: standard Q/DQ; .pare: compiled"},
        {"--calib", NULL, OPT_STRING, &f.calib, "DATA", "calibration samples"},
        {"--random-calib", NULL, OPT_FLAG, &f.random, NULL, "calibrate on random numbers (only to measure speed)"},
        {"--precision", NULL, OPT_STRING, &f.quant.precision, "P", "w8a8 (default)"},
        {"--opset", NULL, OPT_INT, &f.opset, "N", "of .onnx output (default: the lowest that can express it)"},
        QUANT_OPTIONS(f.quant),
        DATA_OPTIONS(f.data),
        SHAPE_OPTION(f.data),
    };
    const Command *c = command_find("quantize");
    bool help;
    TRY(args_parse(c, argc, argv, options, N_OPTIONS(options), &f.common, NULL, &help));
    if (help) return NULL;
    TRY(args_require(c, "-m MODEL", f.model));
    TRY(args_require(c, "-o OUTPUT", f.output));
    TRY(check_output(f.output));
    Progress progress = progress_new("calibrate", &f.common);
    QuantSetup setup;
    TRY(quant_setup(&f.quant, &f.common, &progress, &setup));
    Model m = {0};
    Dataset *ds = NULL;
    Status s = model_load(f.model, true, &m);
    if (!s && m.artifact)
        s = status_make(STATUS_USAGE, "%s is compiled already; quantize the ONNX model it was made from", f.model);
    if (!s) s = apply_shapes(m.graph, &f.data.shapes);
    if (!s) s = open_calibration(f.calib, f.random, &f.data, &f.common, m.graph, &ds);
    if (!s) s = quantize(&f, &m, ds, &setup);
    dataset_free(ds);
    model_free(&m);
    quant_setup_free(&setup);
    return s;
}
