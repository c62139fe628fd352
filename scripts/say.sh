# shellcheck shell=bash
# How the scripts speak: one voice, colour only for a person at a terminal.
# Sourced; the caller sets its own shell options.

if [[ -t 2 && -z ${NO_COLOR:-} && -z ${CI:-} ]]; then
  say_bold=$'\e[1m' say_red=$'\e[31m' say_green=$'\e[32m' say_plain=$'\e[0m'
else
  say_bold='' say_red='' say_green='' say_plain=''
fi

# say tells what is being done. It writes to stderr: stdout is for results.
say() { printf '%s\n' "$*" >&2; }

# headline starts a part of the work that may take a while.
headline() { printf '%s==> %s%s\n' "$say_bold" "$*" "$say_plain" >&2; }

# good and bad end such a part.
good() { printf '%s ok %s %s\n' "$say_green" "$say_plain" "$*" >&2; }
bad() { printf '%sFAIL%s %s\n' "$say_red" "$say_plain" "$*" >&2; }

# die says what is wrong on its first line, then the way out.
die() {
  bad "$1"
  shift
  (($# == 0)) || printf '     %s\n' "$@" >&2
  exit 1
}

# duration prints seconds as a person would.
duration() {
  if (($1 < 60)); then
    printf '%ds' "$1"
  else
    printf '%dm%02ds' $(($1 / 60)) $(($1 % 60))
  fi
}
