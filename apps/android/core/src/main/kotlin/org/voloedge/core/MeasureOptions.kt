package org.voloedge.core

/**
 * How to measure: what a person gets, or what a command says.
 *
 * @property warmup runs before those that are timed.
 * @property threads the runtime's own choice where null.
 */
data class MeasureOptions(val warmup: Int = 10, val runs: Int = 100, val threads: Int? = null) {
    companion object {
        /**
         * @param argument the value of the argument with this name; null where it was not passed.
         * @throws IllegalArgumentException with a line that says what is wrong.
         */
        fun of(argument: (String) -> String?): MeasureOptions {
            fun number(name: String, least: Int): Int? = argument(name)?.let { text ->
                requireNotNull(text.toIntOrNull()?.takeIf { it >= least }) {
                    "$name takes a whole number from $least on, not '$text'"
                }
            }
            val usual = MeasureOptions()
            return MeasureOptions(
                warmup = number("warmup", 0) ?: usual.warmup,
                runs = number("runs", 1) ?: usual.runs,
                threads = number("threads", 1),
            )
        }
    }
}
