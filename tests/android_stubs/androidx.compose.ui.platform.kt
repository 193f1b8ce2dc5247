/* compose ui 1.8 */
package androidx.compose.ui.platform

import android.content.Context
import android.view.View
import androidx.compose.runtime.ProvidableCompositionLocal

val LocalContext: ProvidableCompositionLocal<Context> get() = TODO()

val LocalView: ProvidableCompositionLocal<View> get() = TODO()
