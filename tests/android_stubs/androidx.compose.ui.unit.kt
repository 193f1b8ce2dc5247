/* compose ui-unit 1.8 */
package androidx.compose.ui.unit

@JvmInline
value class Dp(val value: Float)

@JvmInline
value class TextUnit(private val packedValue: Long)

val Int.dp: Dp get() = TODO()
