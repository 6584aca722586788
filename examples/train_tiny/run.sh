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
step "$work/names.jsonl" names.py "$data" "$work/names.jsonl"
for size in 30720 61440; do
    step "$work/tokenizer$size.json" prune_tokenizer.py \
        "$data/xlmr_tokenizer/tokenizer.json" "$data" "$work/tokenizer$size.json" --size $size
    step "$work/pool$size.npz" data.py \
        "$data" "$work/names.jsonl" "$work/tokenizer$size.json" "$work/pool$size.npz"
done

# Stage 1: a static bag, each part with a fresh optimizer; the last one with twice the pieces.
static() { # static NUMBER SIZE START MINUTES SEED RATE
    step "$work/static$1.pt" static.py "$work/pool$2.npz" "$work/static$1.pt" ${3:+--start "$work/$3"} \
        --minutes "$4" --seed "$5" --lr "$6" --threads "$OMP_NUM_THREADS"
}
static 1 30720 "" 10 0 0.1
static 2 30720 static1.pt 11 5 0.06
static 3 30720 static2.pt 23 9 0.06
static 4 30720 static3.pt 13 21 0.06
static 5 30720 static4.pt 80 31 0.06
step "$work/widened.pt" widen.py \
    "$work/static5.pt" "$work/tokenizer30720.json" "$work/tokenizer61440.json" "$work/widened.pt"
static 6 61440 widened.pt 40 77 0.06

# Stage 2: the transformer starts from the bag and is trained, all three views together.
step "$work/start/config.json" warm.py "$work/pool61440.npz" "$work/static6.pt" "$work/tokenizer61440.json" "$work/start"
step "$work/pairs.jsonl.zst" pairs.py \
    "$work/pool61440.npz" "$work/tokenizer61440.json" "$work/pairs.jsonl.zst" --count 300000
m3rag train --data "$work/pairs.jsonl.zst" --model "$work/start" --to "$work/trained" \
    --batch 128 --same-source --token-budget 60000 --max-query-length 64 --max-passage-length 300 \
    --learning-rate 2e-4 --schedule cosine --weight-decay 0 --temperature 0.05 --symmetric \
    --freeze embeddings --freeze positions --save-every 100 --minutes "${MINUTES:-26}"

python "$here/average.py" "$work/start" "$work/trained" "$checkpoint" --share 0.3
cp "$here/presets.json" "$checkpoint"

for set in xquad longdocs_react tatoeba; do
    m3rag evaluate "$data/eval/$set" --model "$checkpoint" --json >"$work/$set.json"
done
