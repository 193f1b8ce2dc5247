package org.voloedge.core

/** What self-test and benchmark are run with where nobody taps: the arguments of a command. */
data class HeadlessOptions(val runs: Int, val warmup: Int, val threads: Int?) {
    companion object {
        /**
         * @param argument the words of the argument with this name; null where it was not passed.
         * @throws IllegalArgumentException with a line that says what is wrong.
         */
        fun parse(argument: (String) -> String?): HeadlessOptions {
            fun number(name: String, least: Int): Int? = argument(name)?.let { word ->
                requireNotNull(word.toIntOrNull()?.takeIf { it >= least }) {
                    "$name is '$word': pass a whole number, $least or more"
                }
            }
            return HeadlessOptions(
                runs = number("runs", 1) ?: RUNS,
                warmup = number("warmup", 0) ?: WARMUP,
                threads = number("threads", 1),
            )
        }
    }
}
