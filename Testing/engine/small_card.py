"""Runs a program as on a computer whose graphics card has little memory, or is wrong:
`python small_card.py BYTES|wrong -m MODULE ...`.

The card is simulated where PyTorch asks for its memory: what is put there is counted and stays in ordinary memory, and
what no longer fits is refused in PyTorch's own words. A wrong one exchanges voxels that lie side by side.
"""

import runpy
import sys

import torch


class Card:
    """
    :param size: bytes.
    """

    def __init__(self, size: int, wrong: bool = False) -> None:
        self._free, self._wrong = size, wrong

    def install(self) -> None:
        torch.cuda.is_available = lambda: True
        torch.cuda.is_bf16_supported = lambda including_emulation=True: False
        ones, tensor_to, module_to = torch.ones, torch.Tensor.to, torch.nn.Module.to

        def put_tensor(tensor, *where, **options):
            if not self._is_here(where):
                return tensor_to(tensor, *where, **options)
            self._take(tensor.nbytes)
            return tensor

        def put_module(module, *where, **options):
            if not self._is_here(where):
                return module_to(module, *where, **options)
            self._take(sum(p.nbytes for p in module.parameters()))
            if self._wrong:
                voxels = module.decoder.head.voxels
                voxels.weight.data = voxels.weight.data.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
            return module

        torch.Tensor.to, torch.nn.Module.to = put_tensor, put_module
        torch.ones = lambda *size, device=None, **options: ones(*size, **options).to(device or "cpu")

    def _is_here(self, where: tuple) -> bool:
        return bool(where) and isinstance(where[0], str | torch.device) and torch.device(where[0]).type == "cuda"

    def _take(self, count: int) -> None:
        if count > self._free:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {count} bytes.")
        self._free -= count


if __name__ == "__main__":
    script, size, flag, module, *arguments = sys.argv
    (Card(2**40, wrong=True) if size == "wrong" else Card(int(size))).install()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
