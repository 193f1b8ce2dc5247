/* activity 1.10 */
package androidx.activity.result

import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia.VisualMediaType

abstract class ActivityResultLauncher<I> {
    open fun launch(input: I): Unit = TODO()
}

class PickVisualMediaRequest

fun PickVisualMediaRequest(
    mediaType: VisualMediaType = PickVisualMedia.ImageAndVideo,
    maxItems: Int = TODO(),
    isOrderedSelection: Boolean = false,
    defaultTab: PickVisualMedia.DefaultTab = TODO(),
): PickVisualMediaRequest = TODO()
