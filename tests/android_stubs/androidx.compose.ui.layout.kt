/* compose ui 1.8 */
package androidx.compose.ui.layout

interface ContentScale
