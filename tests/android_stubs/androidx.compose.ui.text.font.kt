/* compose ui-text 1.8 */
package androidx.compose.ui.text.font

sealed class FontFamily {
    companion object {
        val Monospace: GenericFontFamily get() = TODO()
    }
}

class GenericFontFamily internal constructor() : FontFamily()

@JvmInline
value class FontStyle(val value: Int)

class FontWeight
