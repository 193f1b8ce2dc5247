/* compose ui-graphics 1.8 */
package androidx.compose.ui.graphics

import android.graphics.Bitmap

@JvmInline
value class Color(val value: ULong)

open class ColorFilter

@JvmInline
value class FilterQuality(val value: Int)

interface ImageBitmap

interface Shape

@JvmInline
value class StrokeCap(private val value: Int)

fun Bitmap.asImageBitmap(): ImageBitmap = TODO()
