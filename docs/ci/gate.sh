#!/usr/bin/env bash
# Gates a candidate before it is deployed: what the GitHub Action, the GitLab job and the pre-push hook call.
#
#   HARNESS_CANDIDATE     an adapter or model folder, a URL, an experiment, an alias (needed)
#   HARNESS_AGAINST       what it is held against; default: production
#   HARNESS_SUITES        names or folders of suites, with commas; default: those of the policy and the experiment
#   HARNESS_POLICY        a policy file; default: none
#   HARNESS_OUT           folder for gate.xml (JUnit), gate.md (a comment), gate.json; default: gate
#   HARNESS_INCONCLUSIVE  what an undecided gate is: fail (default), or pass
#   HARNESS               the command; default: harness
#   HARNESS_REPORTS, HARNESS_HOME, HARNESS_VLLM_PYTHON   as everywhere
#
# Further arguments go to `harness gate` as they are. Ends with its exit code: 0 pass, 10 reject, 11 inconclusive,
# 1 error, 2 usage, 13 not comparable; 11 becomes 0 where an undecided gate passes.
set -uo pipefail

out=${HARNESS_OUT:-gate}
inconclusive=${HARNESS_INCONCLUSIVE:-fail}
if [ -z "${HARNESS_CANDIDATE:-}" ]; then
  echo "gate.sh: HARNESS_CANDIDATE is not set: name an adapter folder, a model folder, a URL or an experiment" >&2
  exit 2
fi
case $inconclusive in
  fail | pass) ;;
  *)
    echo "gate.sh: HARNESS_INCONCLUSIVE is '$inconclusive': fail or pass" >&2
    exit 2
    ;;
esac

if [ -n "${GITHUB_ACTIONS:-}" ]; then # what models and servers said is no command to the runner
  quiet=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  echo "::stop-commands::$quiet"
  trap 'echo "::$quiet::"' EXIT
fi
mkdir -p "$out" || exit 1
rm -f "$out/gate.xml" "$out/gate.md" "$out/gate.json"
arguments=("$HARNESS_CANDIDATE" --against "${HARNESS_AGAINST:-production}")
[ -z "${HARNESS_SUITES:-}" ] || arguments+=(--suites "$HARNESS_SUITES")
[ -z "${HARNESS_POLICY:-}" ] || arguments+=(--policy "$HARNESS_POLICY")
arguments+=(--junit "$out/gate.xml" --markdown "$out/gate.md" --json "$@")

"${HARNESS:-harness}" gate "${arguments[@]}" >"$out/gate.json"
code=$?

case $code in
  0) decision=pass ;;
  10) decision=reject ;;
  11) decision=inconclusive ;;
  12) decision=prompt_suffices ;;
  13) decision=not_comparable ;;
  *) decision=error ;;
esac
if [ ! -f "$out/gate.md" ]; then # no verdict: a comment must not keep silent about that
  printf '### Deploy gate: no verdict\n\n`harness gate` ended with exit code %s. The log of this job says why.\n' \
    "$code" >"$out/gate.md"
fi
cat "$out/gate.md"
[ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$out/gate.md" >>"$GITHUB_STEP_SUMMARY"
if [ -n "${GITHUB_OUTPUT:-}" ]; then
  printf 'decision=%s\nexit-code=%s\n' "$decision" "$code" >>"$GITHUB_OUTPUT"
fi
[ "$decision" != inconclusive ] || [ "$inconclusive" != pass ] || exit 0
exit "$code"
