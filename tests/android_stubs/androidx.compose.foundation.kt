/* compose foundation 1.8 */
package androidx.compose.foundation

import androidx.compose.foundation.gestures.FlingBehavior
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.ColorFilter
import androidx.compose.ui.graphics.FilterQuality
import androidx.compose.ui.graphics.ImageBitmap
import androidx.compose.ui.layout.ContentScale

class BorderStroke

class ScrollState

@Composable
fun Image(
    bitmap: ImageBitmap,
    contentDescription: String?,
    modifier: Modifier = Modifier,
    alignment: Alignment = TODO(),
    contentScale: ContentScale = TODO(),
    alpha: Float = TODO(),
    colorFilter: ColorFilter? = null,
    filterQuality: FilterQuality = TODO(),
): Unit = TODO()

@Composable
fun isSystemInDarkTheme(): Boolean = TODO()

@Composable
fun rememberScrollState(initial: Int = 0): ScrollState = TODO()

fun Modifier.verticalScroll(
    state: ScrollState,
    enabled: Boolean = true,
    flingBehavior: FlingBehavior? = null,
    reverseScrolling: Boolean = false,
): Modifier = TODO()
