/* compose ui-text 1.8 */
package androidx.compose.ui.text

class TextLayoutResult

class TextStyle
