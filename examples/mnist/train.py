"""Train mnist_cnn.onnx: train.py MNIST_5K.CSV.GZ OUTPUT.onnx (needs numpy, jax, onnx; README.md says how to run it).

A small CNN of the usual parts: three conv-bn-relu, a depthwise separable block, a residual block, global average
pooling and a linear classifier. Batch normalization is exported unfused, as a training framework leaves it. Seeded and on
one thread: the same library versions give the same file.
"""
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import prepare

SEED = 20
EPOCHS = 40
BATCH = 50
PEAK_RATE = 4e-3
WEIGHT_DECAY = 0.02
BN_EPSILON = 1e-5
# name, input channels, output channels, kernel, stride, groups
CONVS = [
    ("conv1", 1, 16, 3, 1, 1),
    ("conv2", 16, 32, 3, 2, 1),
    ("conv3", 32, 32, 3, 1, 1),
    ("depthwise", 32, 32, 3, 2, 32),
    ("pointwise", 32, 64, 1, 1, 1),
    ("residual", 64, 64, 3, 1, 1),
]
CLASSES = 10
FEATURES = CONVS[-1][2]


def init_params(rng):
    """Weights of He's normal initialization (He et al. 2015), batch normalization at identity."""
    params = {}
    for name, channels, filters, kernel, _, groups in CONVS:
        fan_in = channels // groups * kernel * kernel
        shape = (filters, channels // groups, kernel, kernel)
        params[name] = {
            "weight": rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32),
            "scale": np.ones(filters, np.float32),
            "shift": np.zeros(filters, np.float32),
        }
    params["classifier"] = {
        "weight": rng.normal(0, np.sqrt(1 / FEATURES), (CLASSES, FEATURES)).astype(np.float32),
        "bias": np.zeros(CLASSES, np.float32),
    }
    return params


def forward(params, images, statistics=None):
    """Logits, and each layer's (mean, variance) before normalization: of the batch unless statistics are given."""
    seen = {}

    def conv_bn(x, layer):
        name, _, _, kernel, stride, groups = layer
        y = jax.lax.conv_general_dilated(
            x, params[name]["weight"], (stride, stride), [(kernel // 2, kernel // 2)] * 2,
            dimension_numbers=("NCHW", "OIHW", "NCHW"), feature_group_count=groups)
        if statistics is None:
            seen[name] = (y.mean((0, 2, 3)), y.var((0, 2, 3)))
        else:
            seen[name] = statistics[name]
        mean, variance = (s[None, :, None, None] for s in seen[name])
        scale, shift = (params[name][key][None, :, None, None] for key in ("scale", "shift"))
        return (y - mean) * jax.lax.rsqrt(variance + BN_EPSILON) * scale + shift

    x = images
    for layer in CONVS[:-1]:
        x = jax.nn.relu(conv_bn(x, layer))
    x = jax.nn.relu(x + conv_bn(x, CONVS[-1]))
    features = x.mean((2, 3))
    return features @ params["classifier"]["weight"].T + params["classifier"]["bias"], seen


def loss(params, images, labels):
    logits, seen = forward(params, images)
    log_probability = jax.nn.log_softmax(logits)
    smoothed = jax.nn.one_hot(labels, CLASSES) * 0.95 + 0.05 / CLASSES
    return -(smoothed * log_probability).sum(1).mean(), seen


@jax.jit
def train_step(params, moments, averages, images, labels, rate, step):
    """One step of AdamW (Loshchilov & Hutter 2019); averages follow the batch statistics."""
    gradients, seen = jax.grad(loss, has_aux=True)(params, images, labels)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradients)
    second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, moments[1], gradients)

    def update(p, m, v):
        direction = (m / (1 - 0.9**step)) / (jnp.sqrt(v / (1 - 0.99**step)) + 1e-8)
        decay = WEIGHT_DECAY * p if p.ndim > 1 else 0.0
        return p - rate * (direction + decay)

    averages = jax.tree.map(lambda a, s: 0.99 * a + 0.01 * s, averages, seen)
    return jax.tree.map(update, params, first, second), (first, second), averages


def augment(images, rng):
    """Each image turned by up to 12 degrees, scaled by up to 10 % and moved by up to 2 pixels, bilinear."""
    count = len(images)
    angle = rng.uniform(-0.21, 0.21, (count, 1, 1))
    scale = rng.uniform(0.9, 1.1, (count, 1, 1))
    offset = rng.uniform(-2, 2, (2, count, 1, 1))
    rows, columns = np.mgrid[0:28, 0:28] - 13.5
    y = (np.cos(angle) * rows - np.sin(angle) * columns) * scale + 13.5 + offset[0]
    x = (np.sin(angle) * rows + np.cos(angle) * columns) * scale + 13.5 + offset[1]
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    y, x = np.clip(y + 1, 0, 28.999), np.clip(x + 1, 0, 28.999)
    row, column = y.astype(np.int64), x.astype(np.int64)
    dy, dx = y - row, x - column
    sample = np.arange(count)[:, None, None]
    top = padded[sample, row, column] * (1 - dx) + padded[sample, row, column + 1] * dx
    bottom = padded[sample, row + 1, column] * (1 - dx) + padded[sample, row + 1, column + 1] * dx
    return (top * (1 - dy) + bottom * dy)[:, None].astype(np.float32)


def train(images, labels):
    rng = np.random.default_rng(SEED)
    params = init_params(rng)
    moments = (jax.tree.map(np.zeros_like, params),) * 2
    averages = {layer[0]: (np.zeros(layer[2], np.float32), np.ones(layer[2], np.float32)) for layer in CONVS}
    steps = len(images) // BATCH * EPOCHS
    step = 0
    for epoch in range(EPOCHS):
        augmented = augment(images, rng)
        order = rng.permutation(len(images))
        for batch in order.reshape(-1, BATCH):
            step += 1
            rate = PEAK_RATE * min(step / 200, 0.5 + 0.5 * np.cos(np.pi * step / steps))
            params, moments, averages = train_step(params, moments, averages, augmented[batch], labels[batch], rate,
                                                   float(step))
        print("epoch %d of %d, loss %.4f" % (epoch + 1, EPOCHS, loss(params, images[::7], labels[::7])[0]), flush=True)
    return jax.tree.map(np.asarray, params), jax.tree.map(np.asarray, averages)


def export(params, averages):
    """The ONNX model, opset 17."""
    nodes, weights = [], []

    def constant(name, array):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def conv_bn(layer, source):
        name, _, _, kernel, stride, groups = layer
        nodes.append(helper.make_node(
            "Conv", [source, constant(name + ".weight", params[name]["weight"])], [name + ".out"], name,
            kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups))
        mean, variance = averages[name]
        nodes.append(helper.make_node(
            "BatchNormalization",
            [name + ".out", constant(name + ".bn.scale", params[name]["scale"]),
             constant(name + ".bn.bias", params[name]["shift"]), constant(name + ".bn.mean", mean),
             constant(name + ".bn.var", variance)],
            [name + ".bn.out"], name + ".bn", epsilon=BN_EPSILON))
        return name + ".bn.out"

    def relu(name, source):
        nodes.append(helper.make_node("Relu", [source], [name + ".relu.out"], name + ".relu"))
        return name + ".relu.out"

    x = "input"
    for layer in CONVS[:-1]:
        x = relu(layer[0], conv_bn(layer, x))
    nodes.append(helper.make_node("Add", [x, conv_bn(CONVS[-1], x)], ["residual.add.out"], "residual.add"))
    x = relu("residual", "residual.add.out")
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool.out"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pool.out"], ["features"], "flatten", axis=1))
    nodes.append(helper.make_node(
        "Gemm", ["features", constant("classifier.weight", params["classifier"]["weight"]),
                 constant("classifier.bias", params["classifier"]["bias"])], ["logits"], "classifier", transB=1))
    graph = helper.make_graph(
        nodes, "mnist_cnn",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                              producer_name="examples/mnist/train.py")
    onnx.checker.check_model(model, full_check=True)
    return model


def split(rows):
    table = np.array(rows, np.float32)
    return (table[:, :-1] / 255).reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)


def main():
    source, output = sys.argv[1:]
    rows = prepare.read_rows(source)
    params, averages = train(*split(prepare.select(rows, prepare.TRAIN)))
    images, labels = split(prepare.select(rows, prepare.EVAL))
    logits = np.asarray(forward(params, images, averages)[0])
    print("held-out accuracy: %.2f %%" % (100 * np.mean(logits.argmax(1) == labels)))
    onnx.save(export(params, averages), output)


if __name__ == "__main__":
    main()
