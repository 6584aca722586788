#!/bin/sh
# Train "tiny" from scratch: run.sh DATA WORK CHECKPOINT
#   DATA        holds train/, train_bysa/, xlmr_tokenizer/tokenizer.json and eval/
#   WORK        scratch folder: token arrays, tables, the resumable run
#   CHECKPOINT  the folder to write, in the BGE-M3 layout
# Run it again after a stop: a step whose output is there is not done again. THREADS=1, MINUTES=26.
set -eu
data=$1 work=$2 checkpoint=$3
here=$(dirname "$0")
export OMP_NUM_THREADS="${THREADS:-1}"
mkdir -p "$work"
step() { # step OUTPUT SCRIPT ARGUMENTS...
    output=$1 script=$2
    shift 2
    test -e "$output" || python "$here/$script" "$@"
}
step "$work/tokenizer.json" prune_tokenizer.py "$data/xlmr_tokenizer/tokenizer.json" "$data" "$work/tokenizer.json"
step "$work/names.jsonl" names.py "$data" "$work/names.jsonl"
step "$work/pool.npz" data.py "$data" "$work/names.jsonl" "$work/tokenizer.json" "$work/pool.npz"

# Stage 1: a static bag, each part with a fresh optimizer.
static() { # static NUMBER MINUTES SEED RATE
    start=""
    test "$1" = 1 || start="--start $work/static$(($1 - 1)).pt"
    # shellcheck disable=SC2086
    step "$work/static$1.pt" static.py "$work/pool.npz" "$work/static$1.pt" $start \
        --minutes "$2" --seed "$3" --lr "$4" --threads "$OMP_NUM_THREADS"
}
static 1 10 0 0.1
static 2 11 5 0.06
static 3 23 9 0.06
static 4 13 21 0.06
static 5 80 31 0.06

# Stage 2: the transformer starts from the bag and is trained, all three views together.
step "$work/start/config.json" warm.py "$work/pool.npz" "$work/static5.pt" "$work/tokenizer.json" "$work/start"
step "$work/pairs.jsonl.zst" pairs.py "$work/pool.npz" "$work/tokenizer.json" "$work/pairs.jsonl.zst" --count 200000
m3rag train --data "$work/pairs.jsonl.zst" --model "$work/start" --to "$checkpoint" \
    --batch 128 --same-source --token-budget 60000 --max-query-length 64 --max-passage-length 300 \
    --learning-rate 2e-4 --schedule cosine --weight-decay 0 --temperature 0.05 --symmetric \
    --freeze embeddings --freeze positions --save-every 100 --minutes "${MINUTES:-26}"

for set in xquad longdocs_react tatoeba; do
    m3rag evaluate "$data/eval/$set" --model "$checkpoint" --weights default --weights cross-lingual \
        --weights 0.1/0.3/1 --weights 0.05/0.1/1/0.002 --weights 0.2/1/3/0.04 --json >"$work/$set.json"
done
