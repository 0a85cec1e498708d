"""The nine probe numbers against oracles and plain definitions, and a model that never notices."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.checkpoint import checkpoint

from lmm_tui.metrics.names import OUTPUT_PROBES, REPRESENTATION_PROBES
from lmm_tui.metrics.probe_numbers import participation_ratio
from lmm_tui.metrics.probes import ModelProbe, ProbeError
from lmm_tui.metrics.step.grad_norms import GradNorms

VOCAB = 6400


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def output_of(logits: Tensor, labels: Tensor, shift: bool = False) -> dict[str, float]:
    return ModelProbe().compute_output_distribution(logits, labels, shift=shift)


def representation_of(h_BxTxD: Tensor, **options: int) -> dict[str, float]:
    """The numbers of a model whose only layer gives just this."""
    model = nn.Sequential(nn.Identity())
    probe = ModelProbe(**options)
    probe.attach(model, ["0"])
    probe.activate()
    model(h_BxTxD)
    return probe.compute_representation_diversity()


def alone(_: None, bucket: torch.distributed.GradBucket) -> torch.futures.Future[Tensor]:
    """How gradients are summed where there is one process."""
    done: torch.futures.Future[Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


def peaked(mass: float) -> Tensor:
    """Logits of one row that has `mass` on token 7 and the rest evenly on the others."""
    p = torch.full((1, VOCAB), (1 - mass) / (VOCAB - 1), dtype=torch.float64)
    p[0, 7] = mass
    return p.log().float()


class TestOutput:
    def test_uniform_logits(self) -> None:
        found = output_of(torch.zeros(20, VOCAB), torch.arange(20))
        assert found["entropy"] == pytest.approx(math.log(VOCAB), abs=1e-5)
        assert found["confidence_gap"] == pytest.approx(0.0, abs=1e-9)
        assert found["topk_mass"] == pytest.approx(10 / VOCAB, rel=1e-5)
        assert found["p_true_mean"] == pytest.approx(1 / VOCAB, rel=1e-5)

    def test_seven_tenths_on_one_token(self) -> None:
        found = output_of(peaked(0.7), torch.tensor([7]))
        assert found["entropy"] == pytest.approx(3.240033, abs=5e-5)
        assert found["confidence_gap"] == pytest.approx(0.699953, abs=2e-5)
        assert found["topk_mass"] == pytest.approx(0.700422, abs=2e-5)
        assert found["p_true_mean"] == pytest.approx(0.7, abs=2e-5)
        assert found["top1_acc"] == found["top5_acc"] == 1.0

    def test_certain_and_right(self) -> None:
        found = output_of(100.0 * nn.functional.one_hot(torch.arange(30), 30), torch.arange(30))
        assert found["entropy"] == pytest.approx(0.0, abs=1e-6)
        for name in set(OUTPUT_PROBES) - {"entropy"}:
            assert found[name] == pytest.approx(1.0, abs=1e-6)

    def test_top5_counts_the_fifth_and_not_the_sixth(self) -> None:
        logits = torch.arange(100.0).flip(0).repeat(2, 1)
        found = output_of(logits, torch.tensor([4, 5]))
        assert found["top1_acc"] == 0.0 and found["top5_acc"] == 0.5

    def test_all_nine_are_named_as_the_vocabulary_says(self) -> None:
        found = output_of(gaussian(8, 50), torch.arange(8))
        assert list(found) == ["n_tokens", *OUTPUT_PROBES]

    @pytest.mark.parametrize("vocab", [1, 2, 3])
    def test_tiny_vocabularies(self, vocab: int) -> None:
        found = output_of(torch.zeros(4, vocab), torch.zeros(4, dtype=torch.long))
        assert found["topk_mass"] == pytest.approx(1.0)
        assert found["top5_acc"] == 1.0
        assert found["confidence_gap"] == (1.0 if vocab == 1 else 0.0)

    def test_hugging_face_labels_are_shifted(self) -> None:
        logits, ids = gaussian(3, 9, 40), torch.arange(27).reshape(3, 9)
        next_tokens = torch.cat([ids[:, 1:], torch.full((3, 1), -100)], dim=1)
        assert output_of(logits, ids, shift=True) == output_of(logits, next_tokens)

    def test_unlabelled_positions_are_left_out_before_sampling(self) -> None:
        labels = torch.full((8, 1000), -100)
        labels[2, 10], labels[5, 999], labels[7, 0] = 1, 2, 3
        logits = gaussian(8, 1000, 12)
        found = output_of(logits, labels)
        chosen = output_of(logits[labels != -100], labels[labels != -100])
        assert found["n_tokens"] == 3
        assert found == pytest.approx(chosen)

    def test_no_labels_is_no_numbers(self) -> None:
        assert output_of(gaussian(2, 4, 9), torch.full((2, 4), -100)) == {"n_tokens": 0.0}

    def test_a_sample_stands_for_the_whole(self) -> None:
        logits, labels = gaussian(16, 256, 64), torch.zeros(16, 256, dtype=torch.long)
        sample = output_of(logits, labels)
        whole = ModelProbe(max_tokens=4096).compute_output_distribution(logits, labels, shift=False)
        assert (sample["n_tokens"], whole["n_tokens"]) == (512, 4096)
        assert sample["entropy"] == pytest.approx(whole["entropy"], abs=0.03)

    def test_nonfinite_logits_are_dropped_and_counted(self) -> None:
        logits, labels = gaussian(10, 30), torch.arange(10)
        broken = logits.clone()
        broken[3, 5], broken[8, 0] = math.nan, math.inf
        good = [0, 1, 2, 4, 5, 6, 7, 9]
        found = output_of(broken, labels)
        assert found.pop("nonfinite_logits") == 2
        assert found == pytest.approx(output_of(logits[good], labels[good]))

    def test_nothing_but_nonfinite_logits(self) -> None:
        found = output_of(torch.full((4, 9), math.nan), torch.zeros(4, dtype=torch.long))
        assert found == {"n_tokens": 0.0, "nonfinite_logits": 4.0}

    def test_half_precision_is_computed_in_full(self) -> None:
        logits, labels = gaussian(64, 300).bfloat16(), torch.arange(64)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = output_of(logits, labels)
        assert found == output_of(logits.float(), labels)

    @given(
        rows=st.integers(1, 40),
        vocab=st.integers(2, 60),
        spread=st.floats(0, 40),
        offset=st.floats(-50, 50),
    )
    def test_bounds_and_invariance_to_a_constant(
        self, rows: int, vocab: int, spread: float, offset: float
    ) -> None:
        logits = gaussian(rows, vocab) * spread
        labels = torch.arange(rows) % vocab
        found = output_of(logits, labels)
        assert -1e-5 <= found["entropy"] <= math.log(vocab) + 1e-5
        for name in OUTPUT_PROBES[1:]:
            assert -1e-6 <= found[name] <= 1 + 1e-5
        assert found["top1_acc"] <= found["top5_acc"]
        assert found["topk_mass"] >= min(10, vocab) / vocab - 1e-5
        moved = output_of(logits + offset, labels)
        for name in ("entropy", "confidence_gap", "topk_mass", "p_true_mean"):
            assert moved[name] == pytest.approx(found[name], abs=2e-4)

    def test_labels_that_are_shifted_already_are_suspected_once(self) -> None:
        next_tokens = torch.arange(60).reshape(2, 30)
        logits = 10.0 * nn.functional.one_hot(next_tokens, 60)
        probe = ModelProbe()
        with pytest.warns(UserWarning, match="labels look shifted already"):
            probe.compute_output_distribution(logits, next_tokens)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            probe.compute_output_distribution(logits, next_tokens)

    def test_proper_labels_are_not_suspected(self) -> None:
        ids = torch.arange(60).reshape(2, 30)
        logits = 10.0 * nn.functional.one_hot(ids.roll(-1, dims=1), 60)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = ModelProbe().compute_output_distribution(logits, ids)
        assert found["top1_acc"] == 1.0

    @pytest.mark.parametrize(
        ("logits", "labels", "shift"),
        [
            (gaussian(4, 9), torch.zeros(4, dtype=torch.long), True),
            (gaussian(2, 4, 9), torch.zeros(2, 3, dtype=torch.long), True),
            (gaussian(2, 4, 9), torch.zeros(8, dtype=torch.long), False),
        ],
    )
    def test_shapes_that_do_not_fit_are_one_sentence(
        self, logits: Tensor, labels: Tensor, shift: bool
    ) -> None:
        with pytest.raises(ProbeError, match="do not fit labels"):
            output_of(logits, labels, shift)


def cosines(h_BxTxD: Tensor) -> tuple[float, float]:
    """Within and between sequences, from the definition: every pair of tokens."""
    batch, length, width = h_BxTxD.shape
    u = nn.functional.normalize(h_BxTxD.double(), dim=-1).reshape(-1, width)
    similarity = u @ u.T
    sequence = torch.arange(batch).repeat_interleave(length)
    same = sequence[:, None] == sequence
    other_token = ~torch.eye(len(u), dtype=torch.bool)
    return similarity[same & other_token].mean().item(), similarity[~same].mean().item()


def ratio_from_spectrum(x_NxD: Tensor) -> float:
    variance = torch.linalg.svdvals(x_NxD.double() - x_NxD.double().mean(0)).square()
    return (variance.sum().square() / variance.square().sum()).item()


class TestRepresentation:
    def test_equal_vectors(self) -> None:
        found = representation_of(gaussian(1, 1, 16).expand(3, 5, 16))
        assert found["cosine_sim_intra"] == pytest.approx(1.0, abs=1e-5)
        assert found["cosine_sim_inter"] == pytest.approx(1.0, abs=1e-5)
        assert found["participation_ratio"] == 0.0

    def test_orthonormal_vectors(self) -> None:
        found = representation_of(torch.eye(12).reshape(3, 4, 12))
        assert found["cosine_sim_intra"] == pytest.approx(0.0, abs=1e-6)
        assert found["cosine_sim_inter"] == pytest.approx(0.0, abs=1e-6)

    def test_two_orthogonal_clusters(self) -> None:
        h = torch.zeros(2, 6, 4)
        h[0, :, 1], h[1, :, 3] = 2.0, 0.5
        found = representation_of(h)
        assert found["cosine_sim_intra"] == pytest.approx(1.0, abs=1e-6)
        assert found["cosine_sim_inter"] == pytest.approx(0.0, abs=1e-6)

    def test_antipodal_sequences(self) -> None:
        h = torch.ones(2, 6, 4)
        h[1] = -1.0
        assert representation_of(h)["cosine_sim_inter"] == pytest.approx(-1.0, abs=1e-6)

    @given(batch=st.integers(2, 6), length=st.integers(2, 12), width=st.integers(1, 20))
    def test_cosines_are_the_mean_over_all_pairs(self, batch: int, length: int, width: int) -> None:
        h = gaussian(batch, length, width) + 0.5
        found = representation_of(h)
        intra, inter = cosines(h)
        assert found["cosine_sim_intra"] == pytest.approx(intra, abs=1e-5)
        assert found["cosine_sim_inter"] == pytest.approx(inter, abs=1e-5)
        assert -1 / (length - 1) - 1e-5 <= found["cosine_sim_intra"] <= 1 + 1e-5

    @pytest.mark.parametrize(
        ("shape", "absent"),
        [
            ((1, 8, 4), {"cosine_sim_inter"}),
            ((5, 1, 4), {"cosine_sim_intra"}),
            ((1, 1, 4), set(REPRESENTATION_PROBES)),
        ],
    )
    def test_what_a_batch_does_not_define_is_absent(
        self, shape: tuple[int, int, int], absent: set[str]
    ) -> None:
        found = representation_of(gaussian(*shape))
        assert set(REPRESENTATION_PROBES) - found.keys() == absent

    @given(exponent=st.integers(-30, 30))
    def test_scale_does_not_matter(self, exponent: int) -> None:
        h = gaussian(3, 20, 8)
        assert representation_of(h * 10.0**exponent) == pytest.approx(
            representation_of(h), rel=1e-3
        )

    def test_nonfinite_hidden_are_dropped_and_counted(self) -> None:
        h = gaussian(2, 10, 6)
        whole = representation_of(h[:, 1:])
        h[0, 0, 2], h[1, 0, 0] = math.nan, -math.inf
        found = representation_of(h)
        assert found.pop("nonfinite_hidden") == 2
        assert found == pytest.approx(whole, abs=1e-5)

    def test_nothing_but_nonfinite_hidden(self) -> None:
        found = representation_of(torch.full((2, 3, 4), math.nan))
        assert found == {"nonfinite_hidden": 6.0}

    def test_padding_is_left_out(self) -> None:
        h, mask = gaussian(3, 40, 8), torch.zeros(3, 40, dtype=torch.bool)
        mask[:, :25] = True
        model, probe = nn.Sequential(nn.Identity()), ModelProbe()
        probe.attach(model, ["0"])
        probe.activate(mask)
        model(h.masked_fill(~mask[..., None], 1e6))
        assert probe.compute_representation_diversity() == pytest.approx(
            representation_of(h[:, :25]), abs=1e-5
        )

    def test_many_short_sequences_still_have_pairs(self) -> None:
        found = representation_of(gaussian(2000, 9, 4))
        assert set(REPRESENTATION_PROBES) <= found.keys()

    def test_bfloat16_is_computed_in_full(self) -> None:
        h = (gaussian(2, 30, 16) + 3.0).bfloat16()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = representation_of(h)
        assert found == representation_of(h.float())

    def test_plain_keys_are_means_over_the_layers(self) -> None:
        model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4))
        probe = ModelProbe()
        probe.attach(model, ["0", "1"])
        probe.activate()
        model(gaussian(4, 10, 8))
        found = probe.compute_representation_diversity()
        for name in REPRESENTATION_PROBES:
            assert found[name] == pytest.approx((found[f"0/{name}"] + found[f"1/{name}"]) / 2)

    def test_nothing_went_through(self) -> None:
        probe = ModelProbe()
        probe.attach(nn.Sequential(nn.Identity()), ["0"])
        probe.activate()
        assert probe.compute_representation_diversity() == {}


class TestParticipationRatio:
    def test_spectrum_of_four_one_one(self) -> None:
        axes = torch.diag(torch.tensor([2.0, 1.0, 1.0]))
        plain, corrected = participation_ratio(torch.cat([axes, -axes]).repeat(1000, 1))
        assert plain.item() == pytest.approx(2.0, abs=1e-4)
        assert corrected.item() == pytest.approx(2.0, abs=2e-3)

    def test_rank_one_and_constant(self) -> None:
        line = torch.outer(torch.linspace(-1, 1, 200), gaussian(32))
        assert participation_ratio(line)[0].item() == pytest.approx(1.0, abs=1e-5)
        assert participation_ratio(torch.full((50, 8), 0.1))[1].item() == 0.0

    def test_orthonormal_rows_span_one_less_than_their_number(self) -> None:
        plain, corrected = participation_ratio(torch.eye(20))
        assert plain.item() == pytest.approx(19.0, rel=1e-5)
        assert corrected.item() == 20.0  # never more than there are dimensions

    @pytest.mark.parametrize(
        ("rows", "plain", "corrected"), [(32, 20.8, 59.0), (128, 42.5, 64.0), (512, 56.8, 64.0)]
    )
    def test_few_rows_are_corrected_for(self, rows: int, plain: float, corrected: float) -> None:
        draws = [participation_ratio(gaussian(rows, 64, seed=seed)) for seed in range(20)]
        mean = torch.tensor([[a.item(), b.item()] for a, b in draws]).mean(0)
        assert mean[0].item() == pytest.approx(plain, rel=0.02)
        assert mean[1].item() == pytest.approx(corrected, rel=0.03)

    @given(rows=st.integers(2, 40), width=st.integers(1, 40))
    def test_plain_estimate_is_that_of_the_spectrum(self, rows: int, width: int) -> None:
        x = gaussian(rows, width) + 1.0
        plain, corrected = (value.item() for value in participation_ratio(x))
        assert plain == pytest.approx(ratio_from_spectrum(x), rel=1e-3)
        assert 1 - 1e-4 <= plain <= min(rows - 1, width) + 1e-3
        assert plain - 1e-4 <= corrected <= width + 1e-4

    def test_rotation_does_not_matter(self) -> None:
        x = gaussian(100, 16) * torch.linspace(0.1, 3, 16)
        rotation = torch.linalg.qr(gaussian(16, 16, seed=1)).Q
        assert participation_ratio(x @ rotation)[1].item() == pytest.approx(
            participation_ratio(x)[1].item(), rel=1e-4
        )


class Block(nn.Module):
    """A layer as older libraries have it: its output is a tuple."""

    def __init__(self, width: int, as_tuple: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.2)
        self.as_tuple = as_tuple

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, None]:
        y = x + self.dropout(torch.tanh(self.linear(x)))
        return (y, None) if self.as_tuple else y


class Toy(nn.Module):
    def __init__(self, as_tuple: bool = False, checkpointing: bool = False) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.embed = nn.Embedding(40, 16)
        self.model.layers = nn.ModuleList(Block(16, as_tuple) for _ in range(4))
        self.head = nn.Linear(16, 40)
        self.checkpointing = checkpointing

    def forward(self, ids: Tensor) -> Tensor:
        x = self.model.embed(ids)
        for layer in self.model.layers:
            run = checkpoint(layer, x, use_reentrant=False) if self.checkpointing else layer(x)
            x = run[0] if isinstance(run, tuple) else run
        return self.head(x)


LAYERS = ["model.layers.0", "model.layers.3"]


def batch_ids(step: int = 0) -> Tensor:
    return torch.randint(0, 40, (4, 24), generator=torch.Generator().manual_seed(step))


def hook_count(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


class TestAttaching:
    @pytest.mark.parametrize("as_tuple", [False, True])
    def test_tensor_and_tuple_outputs(self, as_tuple: bool) -> None:
        torch.manual_seed(0)
        model, probe = Toy(as_tuple), ModelProbe()
        probe.attach(model, LAYERS)
        probe.activate()
        model(batch_ids())
        found = probe.compute_representation_diversity()
        assert probe.layers == ("layers.0", "layers.3")
        assert {"participation_ratio", "layers.3/participation_ratio"} <= found.keys()

    def test_wrapper_prefixes_may_be_left_out_or_given(self) -> None:
        wrapped = nn.ModuleDict({"module": nn.ModuleDict({"_orig_mod": Toy()})})
        for names in (LAYERS, [f"module._orig_mod.{name}" for name in LAYERS]):
            probe = ModelProbe()
            probe.attach(wrapped, names)
            assert probe.layers == ("layers.0", "layers.3")

    def test_a_model_in_ddp_trains_and_reads_as_without(self) -> None:
        # Gloo waits for its threads while it is freed, and they may wait for Python's lock.
        torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=1)
        try:
            torch.manual_seed(0)
            plain = Toy(as_tuple=True).eval()
            read = []
            inside = nn.parallel.DistributedDataParallel(plain)
            inside.register_comm_hook(None, alone)
            for model in (plain, inside):
                probe = ModelProbe()
                probe.attach(model, LAYERS)
                probe.activate()
                model(batch_ids()).sum().backward()
                read.append(probe.compute_representation_diversity())
            assert read[0] == read[1] and "layers.3/participation_ratio" in read[1]
            wrapped = GradNorms(model.named_parameters())
            assert wrapped.layers == GradNorms(plain.named_parameters()).layers
        finally:
            torch.distributed.destroy_process_group()

    def test_compiled_models_are_found_under_their_plain_names(self) -> None:
        probe = ModelProbe()
        probe.attach(torch.compile(Toy()), LAYERS)
        assert probe.layers == ("layers.0", "layers.3")

    @pytest.mark.parametrize(
        ("name", "suggestion"),
        [
            ("model.layers.9", "model.layers"),
            ("model.layer.0", "model.layers.0"),
            ("layers.0", "model.layers.0"),
            ("", "model.layers.0"),
        ],
    )
    def test_unknown_layer_names_near_matches(self, name: str, suggestion: str) -> None:
        with pytest.raises(ProbeError, match=suggestion):
            ModelProbe().attach(Toy(), [name])

    def test_two_modules_of_one_layer_keep_their_own_names(self) -> None:
        probe = ModelProbe()
        names = ("model.layers.0.linear", "model.layers.0.dropout")
        probe.attach(Toy(), names)
        assert probe.layers == names

    def test_a_layer_without_token_dimension_is_named(self) -> None:
        model, probe = nn.Sequential(nn.Linear(4, 4)), ModelProbe()
        probe.attach(model, ["0"])
        probe.activate()
        model(gaussian(3, 4))
        with pytest.raises(ProbeError, match=r"layer 0 gives \(3, 4\)"):
            probe.compute_representation_diversity()

    def test_hooks_are_there_only_while_active(self) -> None:
        model, probe = Toy(), ModelProbe()
        probe.attach(model, LAYERS)
        assert hook_count(model) == 0
        probe.activate()
        probe.activate()
        assert hook_count(model) == len(LAYERS)
        probe.deactivate()
        assert hook_count(model) == 0
        model(batch_ids())
        assert probe.compute_representation_diversity() == {}

    def test_attaching_elsewhere_leaves_the_first_model_alone(self) -> None:
        first, second, probe = Toy(), Toy(), ModelProbe()
        probe.attach(first, LAYERS)
        probe.activate()
        probe.attach(second, LAYERS)
        assert hook_count(first) == 0

    def test_of_several_passes_the_first_counts(self) -> None:
        model, probe = Toy().eval(), ModelProbe()
        probe.attach(model, LAYERS)
        probe.activate()
        model(batch_ids(0))
        first = probe.compute_representation_diversity()
        model(batch_ids(1))
        assert probe.compute_representation_diversity() == first

    def test_recomputation_in_backward_is_not_a_second_capture(self) -> None:
        torch.manual_seed(0)
        model, probe = Toy(checkpointing=True), ModelProbe()
        probe.attach(model, LAYERS)
        probe.activate()
        logits = model(batch_ids())
        before = probe.compute_representation_diversity()
        with torch.no_grad():
            model.model.embed.weight.mul_(3.0)
        logits.sum().backward()
        assert probe.compute_representation_diversity() == before

    def test_only_sampled_rows_are_kept(self) -> None:
        model, probe = nn.Sequential(nn.Identity()), ModelProbe(max_tokens=512)
        probe.attach(model, ["0"])
        probe.activate()
        model(gaussian(8, 500, 4))
        kept, _ = probe._captured["0"]
        assert kept.shape == (512, 4)
        assert kept.untyped_storage().nbytes() == 512 * 4 * 4

    def test_the_same_batch_reads_the_same_twice(self) -> None:
        model, probe = Toy().eval(), ModelProbe(max_tokens=20)
        probe.attach(model, LAYERS)
        readings = []
        for _ in range(2):
            probe.activate()
            logits = model(batch_ids())
            readings.append(
                probe.compute_output_distribution(logits, batch_ids())
                | probe.compute_representation_diversity()
            )
        assert readings[0] == readings[1]


def train(steps: int, probing: bool, checkpointing: bool) -> tuple[list[float], list[Tensor]]:
    torch.manual_seed(0)
    model = Toy(checkpointing=checkpointing)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    probe = ModelProbe(max_tokens=30)
    probe.attach(model, LAYERS)
    losses = []
    for step in range(steps):
        ids = batch_ids(step)
        if probing and step % 2 == 0:
            probe.activate()
        logits = model(ids)
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        if probing and step % 2 == 0:
            assert probe.compute_output_distribution(logits, ids)["n_tokens"] == 30
            assert "participation_ratio" in probe.compute_representation_diversity()
            probe.deactivate()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return losses, [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_is_equal_to_the_bit_with_and_without_a_probe(checkpointing: bool) -> None:
    losses, weights = train(5, False, checkpointing)
    losses_probed, weights_probed = train(5, True, checkpointing)
    assert losses == losses_probed
    assert all(torch.equal(a, b) for a, b in zip(weights, weights_probed, strict=True))
