#!/bin/sh
# Train "tiny" from scratch: run.sh DATA WORK CHECKPOINT [THREADS]
#   DATA        holds train/, train_bysa/, xlmr_tokenizer/tokenizer.json and eval/
#   WORK        scratch folder: token arrays, tables, the resumable run, figures
#   CHECKPOINT  the folder to write, in the BGE-M3 layout
set -eu
data=$1 work=$2 checkpoint=$3 threads=${4:-1}
here=$(dirname "$0")
mkdir -p "$work"
step() { # step OUTPUT SCRIPT ARGUMENTS...: run a script unless its output is there
    output=$1 script=$2
    shift 2
    test -e "$output" || python "$here/$script" "$@"
}
step "$work/tokenizer.json" prune_tokenizer.py "$data/xlmr_tokenizer/tokenizer.json" "$data" "$work/tokenizer.json"
step "$work/pool.npz" data.py "$data" "$work/tokenizer.json" "$work/pool.npz"
step "$work/static.pt" static.py "$work/pool.npz" "$work/static.pt" --minutes 10 --threads "$threads"
step "$work/static2.pt" static.py "$work/pool.npz" "$work/static2.pt" --start "$work/static.pt" \
    --seed 5 --lr 0.06 --minutes 11 --threads "$threads"
step "$work/static3.pt" static.py "$work/pool.npz" "$work/static3.pt" --start "$work/static2.pt" \
    --seed 9 --lr 0.06 --minutes 23 --threads "$threads"
# STAGE2 minutes of transformer training; none made the shipped checkpoint: see README.md
python "$here/train.py" "$work/pool.npz" "$work/static3.pt" "$work" --minutes "${STAGE2:-0}" \
    --threads "$threads"
python "$here/export.py" "$work/run.pt" "$work/tokenizer.json" "$checkpoint"
python "$here/evaluate.py" "$checkpoint" "$data/eval" --speed --threads "$threads" \
    --every 2 --weights 1/0.3/1 1/0.3/2 1/1/2 0.3/2/1 --output "$work/results.json"
