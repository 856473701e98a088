# Prints what bash offers at the end of a line, as whole words: complete.bash LINE
source <(tidemark completions bash)

# Bash does not complete for a script, so its words are made here as it makes them: blanks end a word, and = and : are words.
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=()
rest=$1
while [ -n "$rest" ]; do
  case $rest in
    ' '*) rest=${rest# }; [ -n "$rest" ] || COMP_WORDS+=("") ;;
    [:=]*) word=${rest%%[!:=]*}; COMP_WORDS+=("$word"); rest=${rest#"$word"} ;;
    *) word=${rest%%[ :=]*}; COMP_WORDS+=("$word"); rest=${rest#"$word"} ;;
  esac
done
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_tidemark

# What bash leaves in place is what it does not replace: all of the last word up to the last = or :.
last=${1##* }
for reply in "${COMPREPLY[@]}"; do printf '%s\n' "${last%"${last##*[=:]}"}$reply"; done
