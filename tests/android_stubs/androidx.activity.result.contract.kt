/* activity 1.10 */
package androidx.activity.result.contract

import android.net.Uri
import androidx.activity.result.PickVisualMediaRequest

abstract class ActivityResultContract<I, O>

class ActivityResultContracts private constructor() {
    open class PickVisualMedia : ActivityResultContract<PickVisualMediaRequest, Uri?>() {
        sealed interface VisualMediaType

        object ImageAndVideo : VisualMediaType

        object ImageOnly : VisualMediaType

        abstract class DefaultTab
    }

    class RequestPermission : ActivityResultContract<String, Boolean>()
}
