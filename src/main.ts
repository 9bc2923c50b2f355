/** The composition root: the one file that knows every room, reads time, randomness and environment. */
console.error('holdfast: no command yet');
process.exitCode = 2;
