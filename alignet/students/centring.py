"""A network whose read-out has the mean 0."""

import numpy as np
from jaxtyping import Float

from alignet.errors import InputError
from alignet.students.student import Student
from alignet.students.vit import Params


def centre(student: Student, params: Params, mean: Float[np.ndarray, "d"]) -> Params:
    """Subtracts a mean from a network's read-out, in its parameters (ours).

    Some networks have a channel that is large and nearly the same for all pictures, and outweighs
    all else in dot products. Differences of embeddings stay as they are.

    Args:
        student: the network; it is read out at a block, or after the last norm.
        params: its parameters, in the unrolled layout.
        mean: of its read-out.

    Returns:
        The parameters, of which one bias is another.

    Raises:
        InputError: something comes after the last norm that cannot be shifted by one bias.
    """
    transformer = dict(params["Transformer"])
    if student.layer is not None:
        name = f"encoderblock_{student.layer}"
        block = dict(transformer[name])
        # The last thing a block adds to the residual stream.
        shift = np.asarray(mean) / np.asarray(block.get("layer_scale_1", 1.0))
        mlp = dict(block["MlpBlock_0"])
        dense = dict(mlp["Dense_1"])
        dense["bias"] = (np.asarray(dense["bias"]) - shift).astype(np.float32)
        transformer[name] = block | {"MlpBlock_0": mlp | {"Dense_1": dense}}
    elif student.pool in ("gap", "tok") and student.rep_size is student.projection is None:
        norm = dict(transformer["encoder_norm"])
        norm["bias"] = (np.asarray(norm["bias"]) - np.asarray(mean)).astype(np.float32)
        transformer["encoder_norm"] = norm
    else:
        raise InputError(
            f"a {student.variant} read out by {student.pool} cannot be centred; expected one read "
            "out at a block, or after the last norm."
        )
    return params | {"Transformer": transformer}
