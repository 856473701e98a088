# Prints what fish offers at the end of a line, as whole words: complete.fish LINE
tidemark completions fish | source
complete -C $argv[1] | string replace -r '\t.*' ''
exit 0
