/* compose ui-graphics 1.8 */
package androidx.compose.ui.graphics.drawscope

interface DrawScope
