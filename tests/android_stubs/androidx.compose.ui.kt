/* compose ui 1.8 */
package androidx.compose.ui

interface Alignment {
    interface Horizontal

    interface Vertical

    companion object {
        val Start: Horizontal get() = TODO()
        val Top: Vertical get() = TODO()
    }
}

interface Modifier {
    companion object : Modifier
}
