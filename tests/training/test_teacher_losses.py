"""Every loss with a teacher trains every kind of student, by the name that `--loss` takes."""

import pytest
import torch

from ilk.architectures import mamba, student_cnn
from ilk.core.errors import InputError
from ilk.distillation.losses import list_losses, parse_loss
from ilk.training.batch import Batch
from ilk.training.recipe import Recipe
from ilk.training.trainer import train

STUDENTS = {"cnn-15k": student_cnn, "mamba-15k": mamba}
N, K = 24, 4


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("loss", list_losses())
def test_a_loss_by_name_trains_a_student_with_unlabelled_images(loss, student):
    torch.manual_seed(0)
    x = torch.randn(N, 1, 8, 8)
    y = torch.where(torch.arange(N) % 3 > 0, -1, torch.arange(N) % K)
    teacher = torch.randn(N, K).log_softmax(1)
    network = STUDENTS[student].make_student(student, K, 1, 8)
    before = {name: p.clone() for name, p in network.state_dict().items()}
    trained = train(network, Batch(x, y), parse_loss(loss)(teacher), Recipe(3, 12, 1e-2, 0))
    after = network.state_dict()
    assert before.keys() == after.keys()  # extra heads belong to the loss
    assert not torch.equal(before["fc.weight"], after["fc.weight"])
    with torch.inference_mode():
        assert torch.isfinite(trained(x)).all()


def test_settings_come_with_the_name():
    made = parse_loss("DualHead(alpha=0.1, hidden=0, aligned=False)")(torch.zeros(3, 2))
    assert (made.alpha, made.hidden, made.aligned) == (0.1, 0, False)
    assert parse_loss("MEAL(discriminator='none')")(torch.zeros(3, 2)).game == "none"
    for text in (
        "Progressive(group_logits=3)",
        "DualHead(alpha='a')",
        "MEAL(discriminator='fair')",
    ):
        with pytest.raises(InputError):
            parse_loss(text)
