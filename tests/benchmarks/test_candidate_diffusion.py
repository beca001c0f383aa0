"""The benchmark of the diffusion head runs small."""

import torch

from benchmarks.candidate_diffusion import run as candidate_diffusion


def test_a_small_run_has_all_arms_and_conditions():
    result = candidate_diffusion.run(small=True)
    settings = [t["setting"] for t in result["tables"]]
    assert [s.split(", ", 1)[1] for s in settings] == list(candidate_diffusion.CONDITIONS)
    for table in result["tables"]:
        assert len(table["scores"]) == 5
        assert len(table["claims"]) == 3
    assert result["cost"]["cosine"]["mean"] == 1
    assert result["cost"]["diffusion head"]["mean"] > 1


def test_probabilities_are_added_to_candidates_alone():
    cosines, chosen = torch.zeros(2, 4), torch.tensor([[3, 1], [0, 2]])
    total = candidate_diffusion.add_to_cosines(
        cosines, chosen, torch.tensor([[0.75, 0.25], [0.5, 0.5]]), 2.0
    )
    assert total.tolist() == [[0, 0.5, 0, 1.5], [1, 0, 1, 0]]
