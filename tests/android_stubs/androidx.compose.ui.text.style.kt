/* compose ui-text 1.8 */
package androidx.compose.ui.text.style

@JvmInline
value class TextAlign(val value: Int)

class TextDecoration

@JvmInline
value class TextOverflow(private val value: Int)
