/** What a shell evaluates to complete `holdfast`: each key press asks `holdfast __complete`. */

export type Shell = 'bash' | 'zsh' | 'fish';

/**
 * bash takes words apart at `=` and `:`, and inserts what it is given as it is: the words are put together again, and
 * what is answered is quoted and cut to the part that bash replaces.
 */
const BASH = String.raw`_holdfast() {
  local IFS=$'\n' rest=$COMP_LINE word current part found
  local -a words=()
  local -i at
  for ((at = 0; at <= COMP_CWORD; at++)); do
    part=\${COMP_WORDS[at]}
    if [[ at -gt 0 && $rest != [[:space:]]* && -n $rest ]]; then words[-1]+=$part; else words+=("$part"); fi
    rest=\${rest#"\${rest%%[![:space:]]*}"}
    rest=\${rest#"$part"}
  done
  current=\${words[-1]}
  words=("\${words[@]//[\\\"\']/}")
  [[ $part == [=:] ]] && part=
  COMPREPLY=()
  while read -r found; do
    word=\${found#"\${current%"$part"}"}
    [[ $part == [\"\']* ]] || printf -v word %q "$word"
    COMPREPLY+=("$word")
  done < <("\${words[0]/#\~/$HOME}" __complete -- "\${words[@]:1}" 2>/dev/null)
}
complete -o default -F _holdfast holdfast
`;

const ZSH = String.raw`#compdef holdfast
_holdfast() {
  local command=\${(Q)words[1]}
  local -a found
  found=("\${(@f)$("\${command/#\~/$HOME}" __complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[1]}" ]]; then compadd -a found; else _files; fi
}
if [[ "\${funcstack[1]}" == _holdfast ]]; then
  _holdfast
else
  (( \${+functions[compdef]} )) || { autoload -Uz compinit && compinit }
  compdef _holdfast holdfast
fi
`;

const FISH = String.raw`function __holdfast_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  set -l found ($words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\n' $found
  else
    __fish_complete_path "$current"
  end
end
complete -c holdfast -f -a '(__holdfast_complete)'
`;

const SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH };

export function completionScript(shell: Shell): string {
  return SCRIPTS[shell].replaceAll('\\${', '${');
}
