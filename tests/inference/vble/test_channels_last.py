"""The copy of a network computes the same numbers and shares no weight."""

import pytest
import torch

from course_lib.inference.vble.channels_last import in_channels_last
from course_lib.models.structured_vae import structured_vae
from course_lib.rng import generator_from


@pytest.fixture
def vae():
    """A small network in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return structured_vae(channels=(4, 6, 8), latent_channels=3, tail=4, width=4).eval()


def test_it_computes_the_same_and_its_own(vae):
    twin = in_channels_last(vae)
    z = vae.prior(2, generator=generator_from(0))
    torch.testing.assert_close(twin.decode(z).mean, vae.decode(z).mean, rtol=1e-5, atol=1e-6)
    own = {p.data_ptr() for p in vae.parameters()} | {b.data_ptr() for b in vae.buffers()}
    copied = [
        part for m in twin.modules() for part in (*m._parameters.values(), *m._buffers.values())
    ]
    copied = [part for part in copied if part is not None]
    assert len(copied) == len([*vae.parameters(), *vae.buffers()])
    assert not own & {part.data_ptr() for part in copied}
    for part in copied:
        assert not part.requires_grad
        assert part.ndim != 4 or part.is_contiguous(memory_format=torch.channels_last)


def test_what_is_no_network_is_returned():
    model = object()
    assert in_channels_last(model) is model
