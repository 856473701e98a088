/// The shells that have a completion script.
///
/// A script knows nothing of the verbs. It hands the words before the cursor to `PROGRAM complete -- WORD …`, and offers what that
/// prints (`Offer.lines`), so it never lags behind the program, and the three of them offer the same.
package enum Shell: String, CaseIterable, Sendable {
  case bash, zsh, fish

  package func script(for program: String) -> String {
    let text =
      switch self {
      case .bash: Self.bashScript
      case .zsh: Self.zshScript
      case .fish: Self.fishScript
      }
    return text.replacing("PROGRAM", with: program)
  }

  private static let bashScript = #"""
    # Completion for PROGRAM in bash. Made by `PROGRAM completions bash`; needs no package beside bash.

    _PROGRAM() {
      local rest=${COMP_LINE:0:COMP_POINT} words=() word index
      # Bash ends words at = and :, too, which are parts of ours; put together again what no blank separates.
      for ((index = 0; index <= COMP_CWORD; index++)); do
        if [[ index -eq 0 || $rest == [[:space:]]* ]]; then
          rest=${rest#"${rest%%[![:space:]]*}"}
          words+=("")
        fi
        word=${COMP_WORDS[index]}
        # The last one ends at the cursor.
        [[ $rest == "$word"* ]] || word=$rest
        words[${#words[@]} - 1]+=$word
        rest=${rest#"$word"}
      done

      local current=${words[${#words[@]} - 1]} quote=""
      [[ $current == [\"\']* ]] && quote=${current:0:1}
      words=("${words[@]//[\\\"\']/}")
      current=${words[${#words[@]} - 1]}

      local offered=()
      mapfile -t offered < <("${words[0]/#\~\//$HOME/}" complete -- "${words[@]:1}" 2>/dev/null)

      local matching=() candidate
      for candidate in "${offered[@]:1}"; do
        candidate=${candidate%%$'\t'*}
        [[ $candidate == "$current"* ]] && matching+=("$candidate")
      done
      if [[ ${offered[0]} == files ]]; then
        local option="" file
        [[ $current == --*=* ]] && option=${current%%=*}=
        while IFS= read -r file; do matching+=("$option$file"); done < <(compgen -f -- "${current#"$option"}")
        # Bash then puts a slash behind directories, and quotes what needs it.
        compopt -o filenames 2>/dev/null
      fi

      # Bash replaces what follows the last character that ended a word, so what stands before it is left out.
      local breaks="" kept=""
      [[ $COMP_WORDBREAKS == *:* ]] && breaks+=:
      [[ $COMP_WORDBREAKS == *=* ]] && breaks+="="
      [[ -n $breaks && -z $quote ]] && kept=${current%"${current##*[$breaks]}"}
      COMPREPLY=()
      for candidate in "${matching[@]}"; do COMPREPLY+=("${candidate#"$kept"}"); done
    }

    complete -F _PROGRAM PROGRAM

    """#

  private static let zshScript = #"""
    #compdef PROGRAM
    # Completion for PROGRAM in zsh. Made by `PROGRAM completions zsh`.

    _PROGRAM() {
      local -a before offered described
      local line
      (( CURRENT > 2 )) && before=("${(@Q)words[2,CURRENT-1]}")
      offered=("${(@f)$("${${(Q)words[1]}/#\~\//$HOME/}" complete -- "${before[@]}" "${(Q)PREFIX}" 2>/dev/null)}")
      for line in "${(@)offered[2,-1]}"; do
        # `name:meaning`, so a colon of the name needs a backslash.
        described+=("${${line%%$'\t'*}//:/\\:}${${(M)line%%$'\t'*}:+:${line#*$'\t'}}")
      done
      (( $#described )) && _describe -t values value described
      if [[ $offered[1] == files ]]; then
        compset -P '--*='
        _files
      fi
    }

    # From fpath the whole file is the function; a file that is sourced registers it.
    if [[ $funcstack[1] == _PROGRAM ]]; then
      _PROGRAM "$@"
    else
      compdef _PROGRAM PROGRAM
    fi

    """#

  private static let fishScript = #"""
    # Completion for PROGRAM in fish. Made by `PROGRAM completions fish`.

    function __PROGRAM_complete
        set -l words (commandline -opc)
        set -l current (commandline -ct)
        type -q $words[1]; or return
        set -l offered ($words[1] complete -- $words[2..] $current 2>/dev/null)
        test (count $offered) -gt 0; or return
        printf '%s\n' $offered[2..]
        if test $offered[1] = files
            set -l option (string match -r -- '^--[^=]*=' $current)
            string replace -r -- '^' "$option" (__fish_complete_path (string replace -r -- '^--[^=]*=' '' $current))
        end
    end

    complete -c PROGRAM -f -a '(__PROGRAM_complete)'

    """#
}
