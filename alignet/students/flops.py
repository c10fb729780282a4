"""How much work a network is, and how much a chip can do."""

from alignet.students.student import Student, sizes

# Dense bfloat16 FLOP/s of one device, as JAX calls it, from its maker's data sheet.
PEAKS = {
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "TPU v3": 61.5e12,  # of a core, which is a device; the others' cores are one
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
}


def forward_flops(student: Student) -> int:
    """FLOP of one image's forward pass, in matrix products: two for a multiplication and addition.

    Norms, activations, softmax and pooling by a mean are left out, as is usual: they are a few
    per cent of the work. A training step is three times as much.

    Args:
        student: the network.
    """
    width, depth, mlp_dim, _, patch = sizes(student)
    patches = (student.image_size // patch) ** 2
    tokens = patches + (student.pool == "tok") * (1 + student.registers)
    embedding = patches * 3 * patch**2 * width
    attention = 4 * tokens * width**2 + 2 * tokens**2 * width
    mlp = 2 * tokens * width * mlp_dim
    total = embedding + depth * (attention + mlp)
    if student.pool == "map":
        # One query; keys and values of all tokens.
        total += 2 * (1 + tokens) * width**2 + 2 * tokens * width + 2 * width * mlp_dim
    features = width
    for layer in (student.rep_size, student.projection):
        if layer is not None:
            total += features * layer
            features = layer
    total += features * ((student.num_classes or 0) + (student.triplet_head or 0))
    return 2 * total


def peak_flops(device_kind: str) -> float | None:
    """Dense bfloat16 FLOP/s of a device; None if it is not known.

    Args:
        device_kind: as `jax.Device.device_kind` says it, for instance "NVIDIA H100 80GB HBM3".
    """
    known = [name for name in PEAKS if device_kind.startswith(name)]
    return PEAKS[max(known, key=len)] if known else None
