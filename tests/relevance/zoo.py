"""Architectures to try relevance on: how they are built, and stirred.

Weights are random from a seed. Many libraries initialise the last norm of a residual branch, or a
layer scale, to zero or nearly so; the branch is then invisible and so is every fault in it. So
norms and layer scales get weights between 0.5 and 1, and running statistics are measured.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SEED = 5
SIZE = 96
"""Pixels of a side, where an architecture takes any size."""

SIZES = {"torchvision/inception_v3": 299}  # its auxiliary head takes no less

ATTENTION = (
    "vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14", "swin_t", "swin_s", "swin_b",
    "swin_v2_t", "swin_v2_s", "swin_v2_b", "maxvit_t",
)  # fmt: skip
"""Of torchvision, those with attention over positions."""

TIMM = (
    # resnets and their relatives
    "resnet10t", "resnet18", "resnet26d", "resnet50", "resnetblur18", "resnetaa34d", "resnet51q",
    "resnet61q", "resnetrs50", "wide_resnet50_2", "resnext26ts", "resnext50_32x4d",
    "seresnet18", "seresnext26d_32x4d", "ecaresnet26t", "ecaresnext26t_32x4d", "gcresnet33ts",
    "gcresnext26ts", "seresnet33ts", "eca_resnet33ts", "skresnet18", "skresnext50_32x4d",
    "legacy_seresnet18", "legacy_senet154", "legacy_seresnext26_32x4d",
    "resnetv2_18", "resnetv2_18d", "resnetv2_50", "resnetv2_50d_gn", "resnetv2_50d_evos",
    "resnetv2_50d_frn", "resnetv2_50x1_bit", "resnet50_gn", "resnet50_clip_gap",
    "resnest14d", "res2net50_26w_4s", "res2next50", "dla34", "dla46x_c", "dla60_res2net",
    "tresnet_m", "selecsls42b", "dpn48b", "dpn68",
    # without batch norms
    "nf_resnet26", "nf_resnet50", "nf_seresnet26", "nf_ecaresnet26", "nf_regnet_b0",
    "dm_nfnet_f0", "eca_nfnet_l0", "nfnet_l0",
    # regnets
    "regnetx_002", "regnety_002", "regnetv_040", "regnetz_b16", "regnetz_b16_evos", "regnetz_040",
    # mobile networks
    "efficientnet_b0", "efficientnet_lite0", "efficientnet_es", "efficientnet_b0_gn",
    "efficientnet_b0_g8_gn", "efficientnet_cc_b0_4e", "efficientnet_x_b3", "efficientnet_h_b5",
    "tf_efficientnet_b0",
    "tf_efficientnet_lite0", "tf_efficientnet_cc_b0_4e", "tf_efficientnetv2_b0",
    "efficientnetv2_rw_t", "gc_efficientnetv2_rw_t", "mixnet_s", "tf_mixnet_s", "mnasnet_050",
    "semnasnet_075", "mobilenetv1_100", "mobilenetv2_035", "mobilenetv2_100",
    "mobilenetv3_small_050", "tf_mobilenetv3_small_minimal_100", "tf_mobilenetv3_large_075",
    "mobilenetv4_conv_small_035", "mobilenetv4_conv_blur_medium", "mobilenetv4_hybrid_medium_075",
    "mobilenet_edgetpu_v2_xs",
    "lcnet_050", "lcnetv2_small", "tinynet_e", "spnasnet_100", "fbnetc_100", "fbnetv3_b",
    "hardcorenas_a",
    "ghostnet_050", "ghostnetv2_100", "ghostnetv3_050", "rexnet_100", "rexnetr_100",
    "mobileone_s0", "mobileone_s4", "repghostnet_050", "repvgg_a0", "repvgg_d2se", "repvit_m0_9",
    "repvit_m1", "fasternet_t0", "starnet_s050", "starnet_s1", "fastvit_t8", "fastvit_sa12",
    "gernet_s", "shvit_s1", "cpubone_nano",
    # dense, aggregating and parallel
    "densenet121", "densenetblur121d", "rdnet_tiny", "ese_vovnet19b_slim", "vovnet39a",
    "eca_vovnet39b", "ese_vovnet39b_evos", "hrnet_w18_small", "hgnet_tiny", "hgnetv2_b0",
    "cspresnet50", "cspresnext50", "cspdarknet53", "cs3darknet_s", "cs3darknet_focus_s",
    "cs3sedarknet_xdw", "cs3edgenet_x", "cspnext_tiny", "darknet17", "darknetaa53", "sedarknet21",
    # inceptions and searched ones
    "inception_v3", "inception_v4", "inception_resnet_v2", "legacy_xception", "xception41",
    "xception41p", "nasnetalarge", "pnasnet5large", "vgg11", "vgg11_bn",
    # later ones
    "convnext_atto", "convnext_atto_ols", "convnext_atto_rms", "convnext_zepto_rms",
    "convnext_tiny_hnf", "convnextv2_atto", "convmixer_768_32", "convmixer_1024_20_ks9_p14",
    "inception_next_atto", "mambaout_femto", "poolformer_s12", "poolformerv2_s12",
    "convformer_s18", "focalnet_tiny_srf", "test_convnext", "test_efficientnet", "test_resnet",
    "test_byobnet", "test_mambaout", "test_nfnet",
    "csatv2", "edgenext_xx_small", "efficientvit_b0", "efficientvim_m1", "lowformer_b0",
    "iformer_t", "swiftformer_xs", "mobilevitv2_050",
    # attention or mixing over positions
    "lambda_resnet26t", "halonet26t", "botnet26t_256", "bat_resnext26ts", "visformer_tiny",
    "caformer_s18", "efficientformer_l1", "efficientformerv2_s0", "mobilevit_xxs",
    "crossvit_tiny_240", "coat_lite_tiny", "levit_128s", "levit_conv_128s",
    "maxvit_rmlp_pico_rw_256",
    "coatnet_pico_rw_224", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256",
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "cait_xxs24_224", "xcit_nano_12_p16_224",
    "efficientvit_m0", "nextvit_small", "tiny_vit_5m_224", "pvt_v2_b0", "davit_tiny",
    "mvitv2_tiny", "resmlp_12_224", "mixer_s32_224", "gmlp_ti16_224", "sequencer2d_s",
    "test_vit", "volo_d1_224", "twins_svt_small", "gcvit_xxtiny",
)  # fmt: skip
"""Of timm: one or more of every convolutional family, and some that are none."""


def names() -> list[str]:
    """Return every architecture, as "torchvision/NAME" or "timm/NAME"."""
    import torchvision

    listed = torchvision.models.list_models(module=torchvision.models)
    return [f"torchvision/{name}" for name in listed] + [f"timm/{name}" for name in TIMM]


def build(name: str, seed: int = SEED) -> tuple[nn.Module, int]:
    """Return a network with stirred random weights, and the pixels of its pictures' sides."""
    torch.manual_seed(seed)
    library, _, architecture = name.partition("/")
    if library == "torchvision":
        import torchvision

        module = torchvision.models.get_model(architecture, weights=None)
        size = 224 if architecture in ATTENTION else SIZE
    else:
        import timm

        module = timm.create_model(architecture, pretrained=False)
        settings = module.default_cfg
        fixed = (
            settings.get("fixed_input_size") or settings.get("min_input_size", (0, 0, 0))[1] > SIZE
        )
        size = settings["input_size"][1] if fixed else SIZE
    size = SIZES.get(name, size)
    stir(module, pictures(4, size, seed), pictures(4, size, seed + 1))
    return module, size


def pictures(count: int, size: int, seed: int = SEED) -> Tensor:
    """Return smooth noise with some grain, (count, 3, size, size), standardised."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 6, 6, generator=generator)
    smooth = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    noise = torch.randn(count, 3, size, size, generator=generator)
    images = smooth + 0.4 * noise
    return (images - images.mean()) / images.std()


def stir(module: nn.Module, *batches: Tensor) -> None:
    """Leave no branch at zero, no bias at zero, and running statistics as measured; then eval."""
    with torch.no_grad():
        for part in module.modules():
            norm = "Norm" in type(part).__name__
            for name, parameter in part.named_parameters(recurse=False):
                if parameter.numel() and (norm or parameter.min() == parameter.max()):
                    _fill(name, parameter, norm)
        moments = {}
        for part in module.modules():
            if isinstance(getattr(part, "running_mean", None), Tensor):
                moments[part] = part.momentum
                part.reset_running_stats()
                part.momentum = None  # an average over the batches
        module.train()
        for batch in batches:
            module(batch)
        for part, momentum in moments.items():
            part.momentum = momentum
    module.eval().requires_grad_(False)


def _fill(name: str, parameter: Tensor, norm: bool) -> None:
    if "bias" in name or "beta" in name:
        parameter.uniform_(-0.2, 0.2)
    elif norm or parameter.numel() == max(parameter.shape, default=1):
        parameter.uniform_(0.5, 1)
    else:
        parameter.normal_(0, (parameter[0].numel()) ** -0.5)


def layers_of(module: nn.Module, images: Tensor, count: int = 6) -> Sequence[str]:
    """Return the names of `count` convolutions spread over the depth, in order.

    Only those that run once and give maps of more than one position.
    """
    names = {part: name for name, part in module.named_modules()}
    called: list[nn.Module] = []

    def note(part: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            called.append(part)

    handles = [
        part.register_forward_hook(note) for part in module.modules() if isinstance(part, nn.Conv2d)
    ]
    try:
        with torch.no_grad():
            module(images)
    finally:
        for handle in handles:
            handle.remove()
    once = [names[part] for part in called if called.count(part) == 1]
    if len(once) <= count:
        return once
    return [once[round(i * (len(once) - 1) / (count - 1))] for i in range(count)]
