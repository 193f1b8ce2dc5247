package org.voloedge.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class HeadlessOptionsTest {
    private fun parsed(vararg arguments: Pair<String, String>) = HeadlessOptions.parse(arguments.toMap()::get)

    @Test
    fun whatIsNotPassedIsTheScreensChoice() {
        assertEquals(HeadlessOptions(RUNS, WARMUP, null), parsed())
        assertEquals(HeadlessOptions(3, 0, 2), parsed("runs" to "3", "warmup" to "0", "threads" to "2"))
    }

    @Test
    fun whatIsNoNumberIsRefusedInALine() {
        for ((name, word) in listOf("runs" to "abc", "runs" to "0", "warmup" to "-1", "threads" to "0", "runs" to "")) {
            val error = assertThrows(IllegalArgumentException::class.java) { parsed(name to word) }
            val least = if (name == "warmup") 0 else 1
            assertEquals("$name is '$word': pass a whole number, $least or more", error.message)
        }
    }
}
