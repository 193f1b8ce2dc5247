/* material3 1.3 */
package androidx.compose.material3

import androidx.compose.foundation.BorderStroke
import androidx.compose.foundation.interaction.MutableInteractionSource
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.RowScope
import androidx.compose.foundation.layout.WindowInsets
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.Shape
import androidx.compose.ui.graphics.StrokeCap
import androidx.compose.ui.graphics.drawscope.DrawScope
import androidx.compose.ui.text.TextLayoutResult
import androidx.compose.ui.text.TextStyle
import androidx.compose.ui.text.font.FontFamily
import androidx.compose.ui.text.font.FontStyle
import androidx.compose.ui.text.font.FontWeight
import androidx.compose.ui.text.style.TextAlign
import androidx.compose.ui.text.style.TextDecoration
import androidx.compose.ui.text.style.TextOverflow
import androidx.compose.ui.unit.Dp
import androidx.compose.ui.unit.TextUnit

class ButtonColors

class ButtonElevation

class ColorScheme {
    val error: Color get() = TODO()
    val primary: Color get() = TODO()
}

class SelectableChipColors

class SelectableChipElevation

class Shapes

class TabPosition

class Typography {
    val headlineSmall: TextStyle get() = TODO()
}

@JvmInline
value class FabPosition(private val value: Int)

object MaterialTheme {
    val colorScheme: ColorScheme
        @Composable get() = TODO()
    val typography: Typography
        @Composable get() = TODO()
}

// Of the colours' many parameters, which all have defaults, none is used.
fun darkColorScheme(primary: Color = TODO()): ColorScheme = TODO()

fun lightColorScheme(primary: Color = TODO()): ColorScheme = TODO()

@Composable
fun MaterialTheme(
    colorScheme: ColorScheme = TODO(),
    shapes: Shapes = TODO(),
    typography: Typography = TODO(),
    content: @Composable () -> Unit,
): Unit = TODO()

@Composable
fun Button(
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    shape: Shape = TODO(),
    colors: ButtonColors = TODO(),
    elevation: ButtonElevation? = TODO(),
    border: BorderStroke? = null,
    contentPadding: PaddingValues = TODO(),
    interactionSource: MutableInteractionSource? = null,
    content: @Composable RowScope.() -> Unit,
): Unit = TODO()

@Composable
fun OutlinedButton(
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    shape: Shape = TODO(),
    colors: ButtonColors = TODO(),
    elevation: ButtonElevation? = null,
    border: BorderStroke? = TODO(),
    contentPadding: PaddingValues = TODO(),
    interactionSource: MutableInteractionSource? = null,
    content: @Composable RowScope.() -> Unit,
): Unit = TODO()

@Composable
fun FilterChip(
    selected: Boolean,
    onClick: () -> Unit,
    label: @Composable () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    leadingIcon: @Composable (() -> Unit)? = null,
    trailingIcon: @Composable (() -> Unit)? = null,
    shape: Shape = TODO(),
    colors: SelectableChipColors = TODO(),
    elevation: SelectableChipElevation? = TODO(),
    border: BorderStroke? = TODO(),
    interactionSource: MutableInteractionSource? = null,
): Unit = TODO()

@Composable
fun LinearProgressIndicator(
    progress: () -> Float,
    modifier: Modifier = Modifier,
    color: Color = TODO(),
    trackColor: Color = TODO(),
    strokeCap: StrokeCap = TODO(),
    gapSize: Dp = TODO(),
    drawStopIndicator: DrawScope.() -> Unit = TODO(),
): Unit = TODO()

@Composable
fun LinearProgressIndicator(
    modifier: Modifier = Modifier,
    color: Color = TODO(),
    trackColor: Color = TODO(),
    strokeCap: StrokeCap = TODO(),
    gapSize: Dp = TODO(),
): Unit = TODO()

@Composable
fun Scaffold(
    modifier: Modifier = Modifier,
    topBar: @Composable () -> Unit = {},
    bottomBar: @Composable () -> Unit = {},
    snackbarHost: @Composable () -> Unit = {},
    floatingActionButton: @Composable () -> Unit = {},
    floatingActionButtonPosition: FabPosition = TODO(),
    containerColor: Color = TODO(),
    contentColor: Color = TODO(),
    contentWindowInsets: WindowInsets = TODO(),
    content: @Composable (PaddingValues) -> Unit,
): Unit = TODO()

@Composable
fun TabRow(
    selectedTabIndex: Int,
    modifier: Modifier = Modifier,
    containerColor: Color = TODO(),
    contentColor: Color = TODO(),
    indicator: @Composable (tabPositions: List<TabPosition>) -> Unit = {},
    divider: @Composable () -> Unit = {},
    tabs: @Composable () -> Unit,
): Unit = TODO()

@Composable
fun Tab(
    selected: Boolean,
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    text: @Composable (() -> Unit)? = null,
    icon: @Composable (() -> Unit)? = null,
    selectedContentColor: Color = TODO(),
    unselectedContentColor: Color = TODO(),
    interactionSource: MutableInteractionSource? = null,
): Unit = TODO()

@Composable
fun Text(
    text: String,
    modifier: Modifier = Modifier,
    color: Color = TODO(),
    fontSize: TextUnit = TODO(),
    fontStyle: FontStyle? = null,
    fontWeight: FontWeight? = null,
    fontFamily: FontFamily? = null,
    letterSpacing: TextUnit = TODO(),
    textDecoration: TextDecoration? = null,
    textAlign: TextAlign? = null,
    lineHeight: TextUnit = TODO(),
    overflow: TextOverflow = TODO(),
    softWrap: Boolean = true,
    maxLines: Int = Int.MAX_VALUE,
    minLines: Int = 1,
    onTextLayout: ((TextLayoutResult) -> Unit)? = null,
    style: TextStyle = TODO(),
): Unit = TODO()
