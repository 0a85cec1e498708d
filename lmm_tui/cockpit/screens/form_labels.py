"""What the form calls each option, and in what unit its value is.

The key of an option says enough in a file, where its section stands above it; a person who fills in
a form needs the name that the field uses. An option without a row is called by its own label.
"""

from __future__ import annotations

import re

from lmm_tui.engine.config.options import Option
from lmm_tui.i18n.language import tr

TABLE = """
stage                     stage
device                    device
name                      run name
group                     group
runs_dir                  folder of runs
start_from                start from
model.preset              model size
model.vocab_size          vocabulary            tokens
model.hidden_size         hidden size
model.num_layers          layers
model.num_heads           attention heads
model.num_kv_heads        key/value heads
model.head_dim            head size
model.intermediate_size   MLP size
model.max_positions       context length        tokens
model.num_experts         experts               per layer
model.experts_per_token   active experts        per token
model.rope_theta          RoPE theta
model.rms_eps             RMSNorm epsilon
model.tie_embeddings      tied embeddings
data.source               data
data.more                 more data
data.sources              mixture
data.stream               stream the text
data.columns.text         text column
data.columns.messages     messages column
data.columns.instruction  question column
data.columns.input        input column
data.columns.output       answer column
data.columns.system       system column
data.columns.prompt       prompt column
data.columns.chosen       chosen column
data.columns.rejected     rejected column
data.columns.completion   answer column of kto
data.columns.label        verdict column
data.columns.answer       right answer column
data.kinds                question kinds
data.template             chat template
data.tokenizer            tokenizer
data.seq_len              sequence length       tokens
data.val_fraction         validation share      of the data
data.builtin_mb           built-in corpus       MB
data.cache_dir            cache folder
train.steps               length                steps
train.epochs              length in epochs      epochs
train.minutes             length in minutes     min
train.tokens              length in tokens      tokens
train.flops               length in FLOPs       FLOPs
train.batch_size          batch size            sequences
train.grad_accum          grad. accumulation    micro-batches
train.seed                random seed
train.precision           precision
train.compile             torch.compile
train.recompute           recomputation
train.cuda_graphs         CUDA graphs
train.fp8                 fp8 products
train.threads             CPU threads
parallel.ranks            ranks                 processes
parallel.shard            shard the model
parallel.bf16_params      bf16 parameters
parallel.restarts         restarts
parallel.timeout_s        wait for a rank       s
train.on_nonfinite        on NaN or Inf
train.rollback_lr_factor  LR factor             at a rollback
train.freeze              frozen parameters
optim.name                optimizer
optim.state_dtype         AdamW state
optim.lr                  peak learning rate
optim.muon_lr             Muon learning rate
optim.muon_precision      Muon precision
optim.schedule            LR schedule
optim.warmup_steps        warm-up               steps
optim.min_lr_ratio        final / peak LR
optim.decay_fraction      WSD decay share       of the run
optim.weight_decay        weight decay
optim.beta1               Adam beta 1
optim.beta2               Adam beta 2
optim.eps                 Adam epsilon
optim.clip                max gradient norm
log.every                 log every             steps
log.val_every             validate every        steps
log.val_batches           validation size       x 16 sequences
log.probe_every           probe every           steps
log.sample_every          sample every          steps
log.checkpoint_every      checkpoint every      steps
log.keep                  keep the last         checkpoints
log.keep_best             keep the best         checkpoints
log.keep_every            also keep every       steps
log.tensorboard           TensorBoard events
log.trackers              trackers
log.prompts               sample prompts
log.sample_tokens         sample length         tokens
log.temperature           sample temperature
log.top_p                 sample top-p
eval.every                evaluate every        steps
eval.tasks                tasks
eval.limit                questions per task    questions
eval.data_dir             task data folder
health.enable             monitor health
health.rules              rules file
health.thresholds         extra rules
health.pause              pause on
health.checkpoint         checkpoint on
health.rollback           roll back on
health.webhook            webhook URL
health.command            shell command
notify.on                 announce
notify.target             target
notify.terminal           terminal
notify.desktop            desktop
notify.ntfy               ntfy topic URL
notify.webhook            webhook URL
probe.attention           attention
probe.activations         activations
probe.mlp                 dead MLP units
probe.rank                effective rank
probe.updates             update/weight ratio
probe.noise               gradient noise scale
probe.calibration         calibration
lora.rank                 LoRA rank
lora.alpha                LoRA alpha
lora.dropout              LoRA dropout
lora.targets              LoRA targets
dpo.loss                  DPO loss
dpo.beta                  DPO beta
dpo.gamma                 target margin
dpo.label_smoothing       label smoothing
dpo.reference             reference model
kto.loss                  KTO loss
kto.beta                  KTO beta
kto.good_weight           weight of good answers
kto.bad_weight            weight of bad answers
reward.margin             target reward margin
reward.centre             centring weight
grpo.loss                 GRPO loss
grpo.group                group size            answers/prompt
grpo.max_tokens           answer length         tokens
grpo.temperature          temperature
grpo.top_p                top-p
grpo.updates              updates per batch     steps
grpo.clip_low             lower clip epsilon
grpo.clip_high            upper clip epsilon
grpo.beta                 KL weight
grpo.rewards              rewards
grpo.weights              reward weights
distill.teacher           teacher model
distill.data              teacher's data
distill.divergence        KL direction
distill.temperature       temperature
distill.ce_weight         cross-entropy weight
"""
"""Key, label and unit; each is translated in `lmm_tui/i18n/zh/config.toml`."""

ROWS: dict[str, tuple[str, ...]] = {
    key: tuple(texts)
    for key, *texts in (re.split("  +", line) for line in TABLE.strip().splitlines())
}


def label_of(option: Option) -> str:
    """The label in the language of the interface."""
    row = ROWS.get(option.key)
    return tr(row[0] if row else option.label, about=option.key.partition(".")[0])


def unit_of(option: Option) -> str:
    """The unit of the value in the language of the interface, or nothing."""
    row = ROWS.get(option.key, ())
    return tr(row[1]) if len(row) > 1 else ""


if __name__ == "__main__":
    from lmm_tui.engine.config.options import options

    for each in options():
        print(f"{label_of(each):22} {unit_of(each)}")
    print("=== 自测通过 ===")
