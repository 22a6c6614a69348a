#!/usr/bin/env bash
# The sidecar beside its floors, interleaved in one run: direct, nginx, meter0 (floor), ours.
#   bench/compare.sh                 from the repository's root; builds what it needs, release
#   PASSES="r1000 max stream one big ready size" ROUNDS=6 OUT=bench/results bench/compare.sh
# Only loopback is called; every pass is bounded in time. Needs nginx (skipped where there is none).
set -euo pipefail
cd "$(dirname "$0")/.."
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
BENCH=${BENCH_TARGET_DIR:-$PWD/bench/target}
OUT=${OUT:-bench/results}
PASSES=${PASSES:-r1000 max stream one big ready size}
ROUNDS=${ROUNDS:-6}
mkdir -p "$OUT"; OUT=$(cd "$OUT" && pwd)
[ -n "${SKIP_BUILD:-}" ] || {
  cargo build --locked --release -p llmroute-sidecar
  cargo build --locked -p llmroute-tests --example cached-config
  (cd bench && CARGO_TARGET_DIR=$BENCH cargo build --locked --release)
}
B=$BENCH/release
SIDECAR=${SIDECAR:-$TARGET/release/llmroute-sidecar}
run=$(mktemp -d)
pids=()
cleanup() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$run"; }
trap cleanup EXIT
path=/v1/chat/completions

"$B/mock-llm" --listen 127.0.0.1:9100 --threads 1 >/dev/null 2>&1 & mock=$!; pids+=("$mock")
"$B/floor" --listen 127.0.0.1:9304 --upstream 127.0.0.1:9100 --mode meter --threads 0 >/dev/null 2>&1 & floor=$!; pids+=("$floor")
"$TARGET/debug/examples/cached-config" "$run/state" http://127.0.0.1:9100/v1
# No operator is in reach: the sidecar serves its cache and goes on connecting.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=none -keyout /dev/null -out "$run/ca.pem" 2>/dev/null
LLMROUTE_CA_PEM=$(cat "$run/ca.pem"); export LLMROUTE_CA_PEM LLMROUTE_OPERATOR=127.0.0.1:1
sidecar=("$SIDECAR" --listen 127.0.0.1:9480 --admin-listen 127.0.0.1:9490 --local-listen 127.0.0.1:9491 --state-dir "$run/state" --allow-loopback-upstreams)
"${sidecar[@]}" >"$run/sidecar.log" 2>&1 & ours=$!; pids+=("$ours")
targets=(--target "direct;url=http://127.0.0.1:9100$path;pid=$mock")
if command -v nginx >/dev/null; then
  mkdir -p "$run/nginx"
  nginx -p "$run/nginx/" -c "$PWD/bench/peers/nginx.conf" & nginx=$!; pids+=("$nginx")
  targets+=(--target "nginx;url=http://127.0.0.1:9201$path;pid=$nginx")
fi
targets+=(--target "meter0;url=http://127.0.0.1:9304$path;pid=$floor;hdr=authorization: Bearer sk-1234"
          --target "ours;url=http://127.0.0.1:9480$path;pid=$ours")
sleep 1
load() { echo "== $1"; shift; "$B/gwload" "$@" --warm 500 --mock-pid "$mock" --json "$OUT/results.jsonl" "${targets[@]}"; }
for pass in $PASSES; do case $pass in
  r1000)  load "1000 requests a second" rate --rate 1000 --conns 32 --secs 3 --rounds "$ROUNDS" ;;
  max)    load "closed loop, 32 connections" max --conns 32 --secs 3 --rounds "$ROUNDS" ;;
  c1)     load "one connection" max --conns 1 --secs 2 --rounds "$ROUNDS" ;;
  stream) load "100 streams, 50 chunks a second each" stream --conns 100 --chunks 100 --gap-us 20000 --secs 6 --rounds 2 ;;
  one)    load "one stream at a time" stream --conns 1 --chunks 5 --gap-us 2000 --secs 3 --rounds 3 ;;
  big)    load "64 KB prompts" rate --rate 100 --conns 16 --secs 3 --rounds 3 --prompt-bytes 65536 ;;
  ready)  echo "== exec to the first routed 200, config from the cache"
          cp -r "$run/state" "$run/state2"
          "$B/gwload" ready --url http://127.0.0.1:9580$path --times 11 \
            --body '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}' -- "$SIDECAR" --listen 127.0.0.1:9580 --admin-listen 127.0.0.1:9590 \
            --local-listen 127.0.0.1:9591 --state-dir "$run/state2" --allow-loopback-upstreams ;;
  size)   echo "== size"; stat -c '%n %s bytes' "$SIDECAR"; grep -E 'VmRSS|VmHWM' "/proc/$ours/status" ;;
esac; done 2>&1 | tee -a "$OUT/compare.txt"
