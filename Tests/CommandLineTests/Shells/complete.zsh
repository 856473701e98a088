# Prints what zsh offers at the end of a line, as whole words: complete.zsh LINE
# Only the line editor completes, so a second zsh is typed to, on a terminal of its own; its compadd tells what is added, except where
# the completion system only asks what matches.
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner "PS1='' PS2='' PROMPT_EOL_MARK=''; unset zle_bracketed_paste; autoload -Uz compinit; compinit -D -u"
zpty -w inner 'source <(tidemark completions zsh)
compadd() {
  if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
  local -a matches prefix
  zparseopts -E -a prefix p:=prefix
  builtin compadd -A matches "$@"
  local match
  for match in $matches; do print -r -- "OFFERED:$IPREFIX${prefix[2]}$match"; done
  builtin compadd "$@"
}
over() { print -r -- OV""ER; BUFFER= }
zle -N over; bindkey "^X" over; bindkey "^I" complete-word; zstyle ":completion:*" insert-tab false
print REA""DY'
zpty -r -m inner said '*READY*'
zpty -w -n inner "$1"$'\t\x18'
zpty -r -m inner said '*OVER*'
print -rn -- "$said" | tr -d '\r' | sed -n 's/.*OFFERED://p'
zpty -d inner
exit 0
