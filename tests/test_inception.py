import pytest
import torch
from torch import nn
from torchscript import write_torchscript

from geop2p.errors import ModelError
from geop2p.inception import Inception, InceptionScores

FEATURES = 6


class Stand(nn.Module):
    """Called as the real network is: features are means of colours, classes follow from them."""

    def forward(self, pictures: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        halves = pictures.float().chunk(2, dim=3)
        features = torch.cat([half.mean(dim=(2, 3)) for half in halves], dim=1) / 255
        if return_features:
            return features
        return torch.softmax(8 * features, dim=1)


@pytest.fixture(scope="module")
def network_path(tmp_path_factory):
    return write_torchscript(tmp_path_factory.mktemp("inception") / "network.pt", Stand())


def pictures(seed, count=24):
    random = torch.Generator().manual_seed(seed)
    tint = torch.randint(0, 150, (count, 3, 1, 1), generator=random)
    return (tint + torch.randint(0, 50, (count, 3, 32, 32), generator=random)).to(torch.uint8)


def scores_of(path, made, real, **kwargs):
    scores = InceptionScores(Inception(path, features=FEATURES), **kwargs)
    for first in range(0, len(made), 7):
        scores.add(made[first : first + 7], real[first : first + 7])
    return scores.scores()


def test_equal_maps_are_at_no_distance(network_path):
    scores = scores_of(network_path, pictures(0), pictures(0))
    assert scores["fid"] == pytest.approx(0, abs=1e-3)
    assert scores["pictures"] == 24


def test_the_distance_of_shifted_features_is_that_of_their_means(network_path):
    real = pictures(0)
    scores = scores_of(network_path, real + 51, real)  # every feature is 0.2 higher
    assert scores["fid"] == pytest.approx(FEATURES * 0.2**2, abs=1e-3)
    assert scores["kid"] > 0
    assert scores["inception_score"] > 1


def test_scores_are_those_of_the_seed(network_path):
    found = [scores_of(network_path, pictures(1), pictures(2), seed=seed) for seed in (3, 3)]
    assert found[0] == found[1]


def test_too_few_pictures_have_no_scores(network_path):
    assert scores_of(network_path, pictures(0, 4), pictures(1, 4))["fid"] is None


@pytest.mark.parametrize("content", [None, b"", b"no network at all", b'{"a": 1}', b"PK\3\4"])
def test_a_file_that_is_no_network_is_named(tmp_path, content):
    path = tmp_path / "inception.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"inception\.pt: is .*expected") as caught:
        Inception(path)
    assert "\n" not in str(caught.value)
    assert "miniz" not in str(caught.value)
    assert len(str(caught.value)) < 200 + len(str(path))


def test_a_network_of_other_features_is_refused(network_path):
    with pytest.raises(ModelError, match=r"returns \(2, 6\)"):
        Inception(network_path)
