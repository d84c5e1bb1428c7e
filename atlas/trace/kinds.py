"""Which kind of thing each of torch's operations does, as relevance sees it.

Rules belong to operations, not to the classes of modules that call them. What is not listed here
has no rule; it is refused by its name if relevance would have to pass through it.
"""

from collections.abc import Mapping
from typing import Literal

Kind = Literal[
    "convolution", "linear", "product", "quotient", "sum", "average", "passing", "moving", "matrix",
    "affine", "halved",
]  # fmt: skip

_NAMES: Mapping[Kind, str] = {
    # Weights over places.
    "convolution": """
        conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
    """,
    # Weights that are constants; `matrix` also of two tensors that are made from the picture.
    "linear": "linear addmm addmv addbmm baddbmm bilinear",
    "matrix": "matmul mm bmm mv einsum tensordot rmatmul",
    "product": "mul",
    "quotient": "div",
    "sum": "add sub rsub",
    # Sums of several tensors, of which some may be weighted by gates.
    "affine": "addcmul addcdiv lerp index_add",
    # Features and their gate in one tensor.
    "halved": "glu",
    # In proportion to contributions.
    "average": """
        avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
        adaptive_avg_pool3d mean sum interpolate upsample_nearest2d upsample_bilinear2d
        upsample_bicubic2d fold
    """,
    # Activation functions and norms: one value in, one value out, by the rule of Bach et al.
    "passing": """
        relu relu6 leaky_relu prelu rrelu elu selu celu silu gelu mish hardtanh hardswish
        hardsigmoid sigmoid tanh softplus softsign logsigmoid softshrink hardshrink tanhshrink
        threshold clamp clamp_min clamp_max abs neg pow square sqrt dropout dropout1d dropout2d
        dropout3d feature_dropout alpha_dropout feature_alpha_dropout native_dropout batch_norm
        native_batch_norm layer_norm native_layer_norm group_norm native_group_norm instance_norm
        rms_norm local_response_norm normalize clone contiguous detach to float double half
        bfloat16 type type_as cpu cuda data positive pos requires_grad erf sin cos atan exp exp2
        expm1 log1p
    """,
    # Values at other places, or chosen among others: the gradient.
    "moving": """
        view reshape flatten unflatten permute transpose t T mT movedim squeeze unsqueeze expand
        expand_as broadcast_to repeat tile repeat_interleave narrow select index_select getitem
        index gather take_along_dim chunk split split_with_sizes tensor_split hsplit vsplit unbind
        cat stack hstack vstack dstack roll flip fliplr flipud rot90 pad constant_pad_nd
        reflection_pad2d replication_pad2d pixel_shuffle pixel_unshuffle channel_shuffle unfold
        im2col view_as reshape_as index_copy scatter tril triu
        max_unpool1d max_unpool2d max_unpool3d
        max_pool1d max_pool2d max_pool3d max_pool2d_with_indices
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax amin max min maximum
        minimum where masked_fill unsafe_view as_strided diagonal ravel slice alias
    """,
}

KINDS: Mapping[str, Kind] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
"""The kind of each operation, by the name that `atlas.trace.following.name_of` gives it."""

WEIGHTED = ("convolution", "linear", "matrix")
"""Kinds of operations that weigh several inputs for one output."""

IDLE = (
    "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout",
    "feature_alpha_dropout", "native_dropout", "clone", "contiguous", "detach", "alias", "pos",
    "positive", "requires_grad", "data",
)  # fmt: skip
"""Operations that give the numbers that they take (dropout is off in eval mode)."""

TYPES = ("to", "float", "double", "half", "bfloat16", "type", "type_as")
"""Operations that give the numbers that they take, as another type."""

NORMS = ("batch_norm", "native_batch_norm")
"""Those whose statistics are constants, so that they can become part of a layer before them."""

ATTENTION = (
    "matmul", "mm", "bmm", "einsum", "scaled_dot_product_attention",
    "multi_head_attention_forward", "scaled_dot_product_flash_attention_for_cpu",
)  # fmt: skip
"""Where two tensors of the picture are multiplied as matrices."""
