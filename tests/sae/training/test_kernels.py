"""The other Triton kernels, against plain PyTorch."""

import torch

from biosae_utils.sae.training.ops import TorchOps


def test_the_other_products_agree(kernels, case, outputs):
    S, _, d, F, _ = case["shape"]
    values, indices = outputs("values", "indices")
    TorchOps.select(case["pre"], case["bias"], values, indices)
    ours, theirs = outputs("error", "to_values", "squares"), outputs("error", "to_values", "squares")
    kernels.decode(case["xc"], case["low"], values, indices, *ours, 0.1)
    TorchOps.decode(case["xc"].float(), case["low"].float(), values, indices, *theirs, 0.1)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)

    def empty():
        return [torch.full((S, F, d), 9.0, device=case["on"]) for _ in range(2)] + [
            torch.empty(S, F, device=case["on"])
        ]

    a, b = empty(), empty()
    kernels.gradients(values, indices, ours[1], ours[0], case["xc"], *a, 0.1)
    TorchOps.gradients(values, indices, ours[1], ours[0].float(), case["xc"].float(), *b, 0.1)
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)

    parts = kernels.norms(case["W"], a[0], a[1])
    torch.testing.assert_close(parts, TorchOps.norms(case["W"], a[0], a[1]), rtol=1e-3, atol=1e-4)
    clip = torch.linspace(0.5, 1, S, device=case["on"])
    for unit in (False, True):
        results = []
        for ops in (kernels, TorchOps):
            p, m, v = case["W"].clone(), torch.zeros_like(case["W"]), torch.zeros_like(case["W"])
            low = case["low"].clone()
            for step in (1, 2):
                ops.adam(p, low, m, v, a[0], parts, clip, 1e-2, step, unit=unit)
            results.append((p, m, v, low))
        for x, y in zip(*results, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-2 if x.dtype == torch.bfloat16 else 1e-3, atol=1e-5)


def test_centre_gathers_scales_and_subtracts(kernels, case):
    S, B, d, _, _ = case["shape"]
    data = case["rand"](50, d).half()
    rows = torch.randint(50, (S, B)).to(case["on"])
    scale, b_dec = torch.linspace(1, 2, S, device=case["on"]), case["rand"](S, d)
    ours, theirs = torch.empty_like(case["xc"]), torch.empty_like(case["xc"])
    kernels.centre(data, rows, scale, b_dec, ours)
    TorchOps.centre(data, rows, scale, b_dec, theirs)
    torch.testing.assert_close(ours, theirs)
